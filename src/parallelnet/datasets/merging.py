"""A teacher's own classes merged to the paper's four, before anything is decided (paper section 3.1).

The paper's teachers know excitement and disgust; Plutchik's wheel makes them happy and hate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..data.corpora import EMOTION_WORDS
from ..errors import InputError, OptionError
from ..types import EMOTIONS

# fmt: off
DROPPED_WORDS: frozenset[str] = frozenset((
    "neutral", "neu", "calm", "boredom", "bored", "other", "unknown", "unk", "<unk>",
    "fear", "fearful", "fea", "afraid", "surprise", "surprised", "sur", "awe", "contempt", "frustration", "fru",
))
# fmt: on
"""What teachers call what is none of the paper's four; its probability is dropped."""


def read_label_map(path: str) -> dict[str, str | None]:
    """Return {own class: our class, or None to drop it} from a JSON file.

    Raises:
        OptionError: no such file, no JSON object, or a class that is not ours.
    """
    form = f'allowed: a JSON object {{"own class": one of {", ".join(EMOTIONS)}, or null}}'
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"--label-map {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # bad JSON or bad UTF-8
        raise OptionError(f"--label-map {path} is no JSON ({error}); {form}.") from None
    if not isinstance(found, dict):
        raise OptionError(f"--label-map {path} holds {type(found).__name__}; {form}.")
    for own, ours in found.items():
        if ours is not None and ours not in EMOTIONS:
            raise OptionError(f"--label-map {path} maps {own!r} to {ours!r}; {form}.")
    return found


def classes_to_emotions(
    classes: Sequence[str], label_map: Mapping[str, str | None] | None = None, *, teacher: str = "The teacher"
) -> dict[str, str | None]:
    """Return which of `EMOTIONS` each class of a teacher is merged into; None for one that is dropped.

    The user's map goes first, then `corpora.EMOTION_WORDS` (excitement is happy, disgust is hate), then
    `DROPPED_WORDS`; capitals do not count. The map may name classes that this teacher does not have, for one map serves
    both.

    Args:
        classes: the teacher's own.
        label_map: own class to ours.
        teacher: begins the error text.

    Raises:
        OptionError: a class that no table knows, or none that becomes one of ours.
    """
    given = {own.strip().casefold(): ours for own, ours in (label_map or {}).items()}
    table: dict[str, str | None] = {}
    unknown: list[str] = []
    for own in classes:
        word = own.strip().casefold()
        if word in given:
            table[own] = given[word]
        elif word in EMOTION_WORDS:
            table[own] = EMOTION_WORDS[word]
        elif word in DROPPED_WORDS:
            table[own] = None
        else:
            unknown.append(own)
    if unknown:
        raise OptionError(
            f"{teacher} has classes that no table names: {', '.join(map(repr, unknown))}. Mend: name them in a file "
            f'for --label-map, {{"{unknown[0]}": one of {", ".join(EMOTIONS)}, or null to drop it}}.'
        )
    if not any(table.values()):
        raise OptionError(
            f"{teacher} tells {', '.join(classes)} apart, none of which is one of {', '.join(EMOTIONS)}. "
            "Mend: another teacher, or --label-map."
        )
    return table


def merge(own: Mapping[str, float], table: Mapping[str, str | None], *, renormalise: bool = True) -> tuple[float, ...]:
    """Return one probability for each of `EMOTIONS`: the sum over the teacher's classes that are merged into it.

    Args:
        own: the teacher's class to its probability.
        table: the teacher's class to ours, or None to drop it.
        renormalise: scale the sums to sum to 1; else they sum to 1 less what was dropped.

    Raises:
        InputError: the probabilities are not finite, or all of them fall on classes that are dropped.
    """
    if not all(map(math.isfinite, own.values())):
        raise InputError("The teacher gave probabilities that are not finite.")
    sums = dict.fromkeys(EMOTIONS, 0.0)
    for name, p in own.items():
        ours = table[name]
        if ours is not None:
            sums[ours] += float(p)
    total = math.fsum(sums.values())
    if total <= 0:
        raise InputError("The teacher gave all its probability to classes that are dropped.")
    # Without dropped classes the sum is 1 but for rounding, which is left alone.
    scale = total if renormalise and any(ours is None for ours in table.values()) else 1.0
    return tuple(p / scale for p in sums.values())
