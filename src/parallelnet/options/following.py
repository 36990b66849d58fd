"""Options of the commands that follow a voice over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from .checks import ABOVE_0, between
from .running import ModelOptions

_MAX_DURATION_S = 14_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineOptions(ModelOptions):
    """Show the emotion over time of a recording or a clip: a page with the player beside the curve, csv, WebVTT, png.

    Attributes:
        file: recording or clip; clips need the extra video.
        out: folder for timeline.html, timeline.csv, timeline.vtt and timeline.png, which are replaced; a sound of more
            than 20 MB (83 minutes) lies beside the page as sound.mp3.
        smooth_s: windows less than so many seconds apart are averaged, near ones counting most; 0 for none.
        labels: classes to choose from, their probabilities renormalised; all of the checkpoint's when left out.
        max_duration_s: longest recording that is read, in seconds.
    """

    file: str = field(metadata={"positional": True})
    out: str
    smooth_s: Annotated[float, between(0, 600, " seconds")] = 6.0
    labels: tuple[str, ...] = ()
    max_duration_s: Annotated[float, ABOVE_0] = _MAX_DURATION_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOptions(ModelOptions):
    """Print the running emotion of the voice at the microphone, until Ctrl-C (extra: listen).

    Attributes:
        microphone: part of its name, or its number; the system's own when left out.
        step_s: seconds between two answers.
        seconds: how long to listen; without end when left out.
        labels: classes to choose from, their probabilities renormalised; all of the checkpoint's when left out.
    """

    microphone: str | None = None
    step_s: Annotated[float, between(0.25, 60, " seconds")] = 1.0
    seconds: Annotated[float, ABOVE_0] | None = None
    labels: tuple[str, ...] = ()
