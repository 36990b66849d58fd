"""Who may import whom (docs/design.md, section 2), and what must stay unloaded, seen in fresh processes."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import parallelnet
from parallelnet import checkpoint

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy, toy_checkpoint = fixtures.toy, fixtures.toy_checkpoint

ROOT = Path(parallelnet.__file__).parent
STUDIES = ROOT.parent / "parallelnet_experiments"
EVERYWHERE = {"types", "options", "errors", "records"}
ALL = {path.stem if path.suffix else path.name for path in ROOT.iterdir() if not path.name.startswith("_")}
ALL |= {STUDIES.name, "explanation.result", "explanation.parts"}

# The table of docs/design.md, section 2. A package stands for all of its modules.
ALLOWED = {
    "errors": set(),
    "types": {"errors"},
    "options": {"errors"},
    "flags": {"errors"},
    "records": {"errors"},
    "checkpoint": set(),
    "graph_check": set(),
    "audio_files": set(),
    "audio": {"audio_files"},
    "faces": set(),
    "image": {"faces", "image_files"},
    "image_files": set(),
    "judging": {"audio", "image"},
    "calibration": set(),
    "evaluation": {"calibration"},
    "batches": set(),
    "models": {"checkpoint", "graph_check"},
    "video": {"audio_files", "image", "image_files", "judging"},
    "timeline": {"audio", "judging", "video", "voting"},
    "listening": {"audio", "judging"},
    "words": {"audio", "image"},
    "explanation.parts": set(),
    "explanation.result": {"explanation.parts"},
    "report": {"audio", "image", "explanation.parts", "explanation.result"},
    "runtime": {"checkpoint", "graph_check"},
    "voting": {"audio", "calibration", "runtime"},
    "predictor": {"audio", "image", "judging", "video", "voting", "checkpoint", "runtime"},
    "measurement": {"predictor", "batches", "evaluation", "report"},
    "explanation": {"audio", "calibration", "image", "judging", "words", "explanation.parts", "explanation.result"},
    "data": {"audio", "image", "judging", "words"},
    "synthesis": {"audio", "words"},
    "datasets": {"audio", "image", "judging", "words", "data", "synthesis", "report"},
    "training": {"data", "models", "checkpoint", "evaluation", "calibration", "report"},
    "parallelnet_experiments": ALL - {"cli", "commands"},
    "commands": ALL - {"cli"},
    "cli": ALL,
    "__init__": ALL - {"cli", "commands"},
    "__main__": {"cli"},
}
# More than their part may, and only these modules.
EXCEPTIONS = {
    "parallelnet/datasets/teachers.py": {"checkpoint", "predictor"},
    "parallelnet/explanation/explaining.py": {"predictor"},
    "parallelnet/explanation/batch.py": {"batches", "predictor", "report"},
}
# Only inside functions, so that the module itself opens without them.
INSIDE_FUNCTIONS = {"runtime": {"models"}}
HEAVY = {"torch", "torchvision", "lightning", "ray", "matplotlib", "gradio", "onnxruntime", "sklearn", "skimage"}
SRC = ROOT.parent
MODULES = sorted([*ROOT.rglob("*.py"), *STUDIES.rglob("*.py")])


def row_of(dotted):
    """Return the row of the table that a module or name of ours belongs to, "" where it is none of ours."""
    first, *rest = dotted
    if first == STUDIES.name:
        return first
    if first != ROOT.name or not rest:
        return ""
    return next((row for row in (".".join(rest[:2]), rest[0]) if row in ALL), "")


def part_of(path):
    """Return the row of the table that a file belongs to."""
    dotted = path.relative_to(SRC).with_suffix("").parts
    return row_of(dotted) or dotted[-1]


def our_imports(path):
    """Return (part, at the top?) for everything of ours that a file imports; TYPE_CHECKING blocks do not count."""
    package = path.relative_to(SRC).parts[:-1]
    found = set()

    def visit(node, top):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            top = False
        names = []
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            names = [[*module, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        found.update((row, top) for row in map(row_of, names) if row)
        for child in ast.iter_child_nodes(node):
            visit(child, top)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_hold_the_table(path):
    part = part_of(path)
    assert part in ALLOWED, f"{part} has no row in the table: add it here and in docs/design.md, section 2"
    allowed = ALLOWED[part] | EVERYWHERE | {part} | EXCEPTIONS.get(path.relative_to(SRC).as_posix(), set())
    inside = allowed | INSIDE_FUNCTIONS.get(part, set())
    wrong = {name for name, top in our_imports(path) if name not in (allowed if top else inside)}
    assert not wrong, f"{part} may import {sorted(allowed)}, it imports {sorted(wrong)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_modules_and_functions_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400, "split it by idea"
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    too_long = [each.name for each in functions if each.end_lineno - each.lineno + 1 > 60]
    assert not too_long, f"longer than a screen: {too_long}"


def module_imports(path):
    """Return the modules of ours that a file imports, anywhere but under TYPE_CHECKING."""
    package = path.relative_to(SRC).parts[:-1]
    names = {".".join(each.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__") for each in MODULES}
    found = set()

    def visit(node):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.update(each if (each := f"{module}.{alias.name}") in names else module for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found & names


def test_no_modules_import_each_other_in_a_circle():
    waiting = {}
    for path in MODULES:
        name = ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        waiting[name] = module_imports(path) - {name}
    while free := {name for name, needs in waiting.items() if not needs & waiting.keys()}:
        waiting = {name: needs for name, needs in waiting.items() if name not in free}
    assert not waiting, f"in a circle, or above one: {sorted(waiting)}"


def test_the_parser_of_imports_sees_every_form(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SRC", tmp_path)
    path = tmp_path / "parallelnet" / "data" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from typing import TYPE_CHECKING\nfrom .. import audio\nfrom ..models.stored import export\n"
        "import parallelnet.runtime\nfrom . import splits\nif TYPE_CHECKING:\n    from ..cli import main\n"
        "def f():\n    from parallelnet.predictor import load\n"
    )
    expected = {("audio", True), ("models", True), ("runtime", True), ("data", True), ("predictor", False)}
    assert our_imports(path) == expected


def loaded_by(*arguments):
    """Return the top-level packages that a fresh interpreter holds after running with these arguments."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import parallelnet"),
        ("-m", "parallelnet", "--help"),
        ("-m", "parallelnet", "train", "--help"),
        ("-m", "parallelnet", "list", "variants"),
        ("-m", "parallelnet", "list", "checkpoints"),
    ],
    ids=" ".join,
)
def test_light_commands_load_nothing_heavy(arguments):
    loaded = loaded_by(*arguments)
    assert "parallelnet" in loaded
    assert not loaded & HEAVY


def test_help_parses_no_options():
    assert "jsonargparse" not in loaded_by("-m", "parallelnet", "--help")


@pytest.fixture
def any_checkpoint(request):
    """The folder of the bundled checkpoint; of a toy while there is none."""
    return checkpoint.bundled().get(checkpoint.DEFAULT_CHECKPOINT) or request.getfixturevalue("toy_checkpoint").path


def test_predict_loads_no_torch(any_checkpoint, tone_wav, picture_png):
    files = ("--speech", str(tone_wav), "--image", str(picture_png), "--checkpoint", str(any_checkpoint))
    loaded = loaded_by("-m", "parallelnet", "predict", *files)
    assert "onnxruntime" in loaded  # or the list of loaded packages would say nothing
    assert not loaded & {"torch", "torchvision", "lightning", "matplotlib", "pyarrow", "ray", "gradio"}


def test_the_design_names_every_module_with_about_its_lines():
    text = (SRC.parent / "docs" / "design.md").read_text(encoding="utf-8")
    stated = {}
    for row in text.splitlines():
        cells = row.split("|")
        if len(cells) == 5 and cells[3].isdecimal():
            name = cells[1].strip("`")
            place = (
                name.replace("experiments/", f"{STUDIES.name}/", 1)
                if name.startswith("experiments/")
                else f"{ROOT.name}/{name}"
            )
            stated[place.removesuffix("/").removesuffix("/__init__")] = int(cells[3])
    lines = {}
    for path in MODULES:
        name = path.relative_to(SRC).with_suffix("").as_posix().removesuffix("/__init__")
        lines[name] = path.read_text(encoding="utf-8").count("\n")
    small = {name for name, n in lines.items() if n <= 12}  # package markers
    assert stated.keys() | small >= lines.keys() >= stated.keys()
    # A tenth or twenty lines: so much a module may change before the table must be looked at again.
    off = {name: (n, lines[name]) for name, n in stated.items() if abs(n - lines[name]) > max(20, n / 10)}
    assert not off, f"lines stated and counted: {off}"
