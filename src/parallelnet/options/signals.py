"""How files become tensors, and how large they may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .checks import positive, require

MAX_DURATION_S = 900.0
MAX_PIXELS = 50_000_000
"""The 50-megapixel cameras of phones (8160 x 6120); 0.35 to 1 GB while it is decoded."""


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """How large an input may be.

    Attributes:
        max_duration_s: longest speech that is read, in seconds.
        max_pixels: largest picture that is decoded, in pixels (width times height); a baseline JPEG of up to four
            times as many is decoded at half its size.
    """

    max_duration_s: float = MAX_DURATION_S
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        positive("--max-duration-s", self.max_duration_s)
        positive("--max-pixels", self.max_pixels)


@dataclass(frozen=True, slots=True)
class SignalOptions:
    """How files become tensors (design section 4); kept in the checkpoint.

    Attributes:
        clip_s: length of one speech window in seconds; 128 frames always, so the hop is a 128th of it.
        trim: cut silence from both ends of the speech before anything else.
        face: `auto` crops the largest frontal face, `off` uses the whole picture.
    """

    clip_s: float = 4.096
    trim: bool = False
    face: Literal["auto", "off"] = "off"

    def __post_init__(self) -> None:
        # Below 0.512 s a hop is shorter than 64 samples: a 1024-point window then sees every sound 16 times over.
        require(0.5 <= self.clip_s <= 30, "--clip-s", self.clip_s, "0.5 to 30 seconds")
        require(self.face in ("auto", "off"), "--face", self.face, "auto, off")
