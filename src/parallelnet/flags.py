"""Option dataclasses as command-line flags, and a command line as option dataclasses.

A field is a flag, its line under `Attributes:` the help. jsonargparse checks types and reads `--config` files.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser

from .errors import OptionError
from .options.checks import Checked, companions, typed


class _Parser(ArgumentParser):
    """Raises our error instead of printing the usage and exiting."""

    names: dict[str, str]  # field to what the user types

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise OptionError(f"{_readable(message, self.names)} See: {self.prog} --help") from ex


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def field_help(cls: type) -> dict[str, str]:
    """Return what the `Attributes:` of a dataclass and its bases say of each field."""
    from docstring_parser import DocstringStyle, parse

    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for entry in parse(base.__doc__ or "", DocstringStyle.GOOGLE).params:
            texts[entry.arg_name] = " ".join((entry.description or "").replace("`", "").split())
    return texts


def _add_flag(group: Any, field: Field[Any], hint: Any, text: str, *, preset: bool) -> None:
    """Add the flag of one field. A flag that was not given leaves no trace: the dataclass's own default counts."""
    inner = get_args(hint)[0] if type(None) in get_args(hint) else hint  # X of `X | None`
    default = "on" if field.default is True else field.default
    if text != argparse.SUPPRESS:
        if not (preset or default in (MISSING, None, ()) or default is False):
            text += f" (default: {default})"
        text = text.replace("%", "%%")
    facts: dict[str, Any] = {"help": text}
    positional = bool(field.metadata.get("positional"))
    if not positional:
        facts |= {"default": argparse.SUPPRESS, "required": not preset and _required(field)}
    if inner is bool:
        facts["action"] = argparse.BooleanOptionalAction
    elif get_origin(inner) is Literal:
        facts["choices"] = list(get_args(inner))
    else:
        facts |= {"type": inner, "metavar": field.name.upper()}
        if get_origin(inner) is tuple:
            facts |= {"type": get_args(inner)[0], "nargs": "*"}
    if positional and not _required(field):
        facts["nargs"] = "?"
    group.add_argument(field.name if positional else typed(field), **facts)


def _homes(cls: type) -> dict[str, type]:
    """Return by field the dataclass that it was first written in, a class's own before those of its bases."""
    homes: dict[str, type] = {}
    for base in filter(is_dataclass, reversed(cls.__mro__)):
        homes = {**dict.fromkeys((f.name for f in fields(base) if f.name not in homes), base), **homes}
    return homes


def _parser(prog: str, shown: Sequence[type[Checked]], presets: Sequence[type[Checked]], *, all: bool) -> _Parser:
    """Return the parser; its help has all options, or only those that the first dataclass calls common."""
    classes = (shown[0], *presets, *shown[1:])
    hints, texts = ({cls: look(cls) for cls in classes} for look in (get_type_hints, field_help))
    every = [(cls, f) for cls in classes for f in fields(cls) if not is_dataclass(hints[cls][f.name])]  # type: ignore[arg-type]
    needed = [
        typed(f) + ("" if f.metadata.get("positional") else f" {f.name.upper()}") for _, f in every if _required(f)
    ]
    common = shown[0].COMMON.split()
    hidden = {f.name for cls, f in every if common and not all and f.name not in common and cls not in shown[1:]}
    parser = _Parser(
        prog=prog,
        usage=" ".join([prog, *needed, "[options]"]),
        description=shown[0].summary(),
        epilog=f"{len(hidden)} more options: {prog} --help-all" if hidden else None,
        default_env=False,
        allow_abbrev=False,
        formatter_class=argparse.HelpFormatter,
        print_config=None,
    )
    parser.names = {f.name: typed(f) for _, f in every}
    parser.add_argument("--config", action="config", help="YAML or JSON file with any of these options")
    groups: dict[type, Any] = {shown[0]: parser}
    for cls in classes:
        homes = _homes(cls)
        own = {field.name: field for of, field in every if of is cls}
        must = [name for name, field in own.items() if cls in shown and _required(field)]
        for name in dict.fromkeys([*must, *(name for name in homes if name in own)]):
            home = shown[0] if name in must else homes[name]
            if home not in groups:
                groups[home] = parser.add_argument_group(re.split("[.:;]", home.__doc__ or "")[0])
            text = argparse.SUPPRESS if name in hidden else texts[cls].get(name, "")
            _add_flag(groups[home], own[name], hints[cls][name], text, preset=cls in presets)
    return parser


def _readable(message: str, names: Mapping[str, str]) -> str:
    """Return an error of the parser as one sentence that names the flag."""
    text = " ".join(message.split())
    wrong_type = re.match(r'Parser key "(\w+)": Expected a <class \'(\w+)\'>\. Got value: (.*)', text)
    if wrong_type:
        kinds = {"int": "a whole number", "float": "a number"}
        name, kind, value = wrong_type.groups()
        return f"{names.get(name, name)} is {value!r}; allowed: {kinds.get(kind, kind)}."
    missing = re.match(r"the following arguments are required: (.*)", text)
    if missing:
        return f"Missing: {', '.join(names.get(name, name) for name in missing[1].split(', '))}."
    text = re.sub(r'^Parser key "(\w+)": ', lambda key: f"{names.get(key[1], '--' + key[1])}: ", text)
    text = text.removeprefix("argument ").rstrip(".")
    return text[:1].upper() + text[1:] + "."


def _kebab(argument: str) -> str:
    """Return `--per_class=3` as `--per-class=3`: both spellings of a flag are taken, one is shown."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def parse(
    prog: str, arguments: Sequence[str], shown: Sequence[type[Checked]], presets: Sequence[type[Checked]] = ()
) -> tuple[list[Any], dict[str, Any]]:
    """Return one instance of each class in `shown`, and what was given for the fields of `presets`.

    Args:
        prog: what the user typed before the arguments, for help and errors.
        arguments: the rest of the command line; `--help` and `--help-all` print and exit.
        shown: option dataclasses; the first one's docstring heads the help, its `COMMON` says what `--help` shows.
        presets: dataclasses whose flags each replace a part of a preset, and have no default of their own.

    Raises:
        OptionError: an unknown flag, a value of the wrong kind, or one that an option class refuses.
    """
    line = ["--help" if argument == "--help-all" else _kebab(argument) for argument in arguments]
    given = _parser(prog, shown, presets, all="--help-all" in arguments).parse_args(line).as_dict()

    def take(cls: type) -> dict[str, Any]:
        taken = {f.name: given[f.name] for f in fields(cls) if f.name in given}
        return {key: tuple(value) if isinstance(value, list) else value for key, value in taken.items()}

    chosen = [cls(**take(cls)) for cls in shown]
    for options in chosen:
        companions(options, given)
    return chosen, {key: value for cls in presets for key, value in take(cls).items()}
