"""`parallelnet timeline` and `parallelnet listen`: emotion over time, of a file and of a microphone."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import options
from ..errors import OptionError
from . import Console, Given, held_folder, say

if TYPE_CHECKING:
    from ..listening import Heard


def timeline(chosen: options.TimelineOptions, console: Console, _: Given) -> None:
    """Write the time line of a file, and say what it holds."""
    with held_folder(chosen.out):
        from ..predictor import load_chosen
        from ..report.timeline import told, write
        from ..timeline import follow

        model = load_chosen(chosen, chosen.labels)
        found = follow(model, chosen.file, smooth_s=chosen.smooth_s)
        page = write(found, chosen.out, title=Path(chosen.file).name)
    passages = list(found.passages())
    counts = {"n_windows": len(found.spans), "n_passages": len(passages), "n_pauses": len(found.pauses)}
    counts["n_unsure"] = sum(len(each.likely) > 1 for each in passages)
    facts = {"page": str(page), "duration_s": found.duration_s, **counts, "warnings": found.warnings}
    lines = [
        f"{counts['n_passages']} passages ({counts['n_unsure']} of them unsure) and {counts['n_pauses']} pauses in "
        f"{found.duration_s:.0f} s; the first: {told(passages[0])}",
        *(f"note       {line}" for line in found.warnings),
        f"page       {page}",
    ]
    say(console, json.dumps(facts, ensure_ascii=False), print, "\n".join(lines))


def listen(chosen: options.ListenOptions, console: Console, _: Given) -> None:
    """Print what the model says of the voice at the microphone, a line a step."""
    from ..predictor import load_chosen

    model = load_chosen(chosen, chosen.labels)
    if "speech" not in model.modalities:
        raise OptionError(f"Checkpoint {model.name} takes no speech, so it cannot listen. Mend: another --checkpoint.")
    from .. import listening

    with listening.microphone(chosen.microphone) as blocks:
        for heard in listening.listen(model, blocks, step_s=chosen.step_s):
            show(heard, console)
            if chosen.seconds is not None and heard.at_s >= chosen.seconds:
                break


def show(heard: Heard, console: Console) -> None:
    """Print one answer: a line, or an object of JSON a line."""
    of = heard.prediction
    said = "nobody speaks"
    if of is not None:
        others = [name for name in of.conformal_set if name != of.emotion]
        said = f"{of.emotion} {of.probs[of.emotion]:.0%}" + (f"  (unsure: or {' or '.join(others)})" if others else "")
    record = {"at_s": round(heard.at_s, 2), "prediction": None if of is None else of.to_dict()}
    say(console, json.dumps(record, ensure_ascii=False), partial(print, flush=True), f"{heard.at_s:7.1f} s  {said}")
