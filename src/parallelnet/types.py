"""What flows between the parts: frozen, slotted records that know no other module.

Shapes, units and orders that everything else relies on stand here once.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Literal, Self

# The paper's classes, in index order. A checkpoint carries its own list; nothing else assumes four.
EMOTIONS: tuple[str, ...] = ("anger", "happy", "hate", "sad")
SENTIMENTS: tuple[str, ...] = ("negative", "neutral", "positive")

Modality = Literal["speech", "image"]
Modalities = Literal["both", "speech", "image"]  # that are used of a sample: both, or one with the other at zero
SPLITS: tuple[str, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a manifest or corpus (design section 3).

    Attributes:
        id: unique within its manifest.
        speech: path of the utterance, or None.
        image: path of the picture, or None.
        text: transcript or tweet, or "".
        label: emotion, or "" where unknown.
        sentiment: sentiment, or "" where unknown.
        split: one of `SPLITS`, or "".
        fold: 0-based fold in which the sample is tested, or None.
        group: speaker or author; never straddles a split or fold. "" where unknown.
        image_group: hash of the picture's content; never straddles a split or fold.
        word_times: (word, start in s, end in s) of each spoken word.
        extra: columns we do not know, kept as they came.
        face: which face of the image, 0 for the largest.
        problem: why the row cannot be used, or "" for a sound one. Only batches, which go on, ask for such rows.
    """

    id: str
    speech: str | None = None
    image: str | None = None
    text: str = ""
    label: str = ""
    sentiment: str = ""
    split: str = ""
    fold: int | None = None
    group: str = ""
    image_group: str = ""
    word_times: tuple[tuple[str, float, float], ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    face: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """What `face=auto|off` did to a picture (design section 4).

    Attributes:
        mode: what was asked for: `auto` or `off`.
        status: `cropped` (a face was found and cut out), `tight` (the picture is a face crop already and is
            used whole), `not-found` (no face: the whole picture is used, outside what a model of faces
            knows) or `off`.
        box: left, top, width, height in pixels of the oriented picture: the part that the model saw.
        others: the boxes of the other faces that were found, the largest first.
    """

    mode: Literal["auto", "off"]
    status: Literal["cropped", "tight", "not-found", "off"]
    box: tuple[int, int, int, int]
    others: tuple[tuple[int, int, int, int], ...] = ()

    @property
    def known(self) -> bool:
        """False where a model that was trained on faces saw a picture without one."""
        return self.status != "not-found"

    def cells(self) -> dict[str, str]:
        """Return it as cells of a table: boxes as `left top width height`, those of other faces joined by `|`."""
        own, *others = (" ".join(map(str, box)) for box in (self.box, *self.others))
        return {"face": self.status, "face_box": own, "other_faces": "|".join(others)}


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """A frame of a clip.

    Attributes:
        index: its place among all frames of the clip, from 0.
        time_s: when it is shown, in seconds from the start of the sound (of the pictures where there is no sound).
    """

    index: int
    time_s: float

    def __str__(self) -> str:
        """Return how a frame is named to people."""
        return f"frame {self.index} at {self.time_s:.2f} s"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one sample.

    Attributes:
        emotion: the most probable class.
        probs: calibrated probability of each class, in the checkpoint's order; they sum to 1.
        conformal_set: classes that split conformal prediction cannot rule out at 90 % (never empty).
        uncertain: True when `conformal_set` holds more than one class.
        modalities: what was heard and seen: `("speech",)`, `("image",)` or both.
        alone: for a sample with both, the probabilities from each modality with the other at zero.
        face: what was done to find the face; None without a picture.
        n_windows: windows of the speech that voted (those that hold something); 0 without speech.
        checkpoint: name of the checkpoint.
        warnings: one line for each reason to distrust the answer.
        frames: of a clip, those that voted, the best one first.
    """

    emotion: str
    probs: Mapping[str, float]
    conformal_set: tuple[str, ...]
    uncertain: bool
    modalities: tuple[str, ...]
    alone: Mapping[str, Mapping[str, float]]
    face: FaceCrop | None
    n_windows: int
    checkpoint: str
    warnings: tuple[str, ...] = ()
    frames: tuple[ClipFrame, ...] = ()

    @property
    def without_face(self) -> str:
        """What was judged where a face was sought and none found, in a few words; "" otherwise."""
        if self.face is None or self.face.known:
            return ""
        if "image" in self.modalities:
            return "judged without a face: the whole image was used"
        return "by the speech alone: no face was found in the image"

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON."""
        record = asdict(self)
        if self.face is not None:
            record["face"]["known"] = self.face.known
        return record

    def to_json(self) -> str:
        """Return the prediction as one JSON object; the inverse of `from_json`."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the prediction that `to_json` wrote."""
        record: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in json.loads(text).items()}
        if face := record["face"]:
            others = tuple(map(tuple, face.get("others", ())))  # older records have none
            record["face"] = FaceCrop(face["mode"], face["status"], tuple(face["box"]), others)
        return cls(**record | {"frames": tuple(ClipFrame(**each) for each in record.get("frames", ()))})

    def _repr_html_(self) -> str:
        """Return a self-contained table with one bar a class, for notebooks."""
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td><div style='background:#4477aa;height:0.8em;"
            f"width:{12 * p:.2f}em'></div></td><td>{p:.3f}</td></tr>"
            for name, p in self.probs.items()
        )
        heard = " + ".join(self.modalities)
        doubt = f" (uncertain: {escape(', '.join(self.conformal_set))})" if self.uncertain else ""
        notes = "".join(f"<div>{escape(line)}</div>" for line in self.warnings)
        return f"<div><b>{escape(self.emotion)}</b> from {escape(heard)}{doubt}<table>{rows}</table>{notes}</div>"
