"""What an explanation says, its JSON, and the way to other toolkits.

It knows no other part of the program, so that explaining, plotting and reporting can all read it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from html import escape
from itertools import chain
from typing import Any, Self

import numpy as np

from ..errors import InputError, MissingExtraError
from ..types import Modality, Prediction
from .parts import Budget, ClassValues, DivisionNode, Material, Sensitivity, SpeechUnit

__all__ = ["ClassValues", "Explanation", "Material"]

# Key in the JSON of a class: its field in `ClassValues`, where it stands there as it is.
_JSON_KEYS = {
    "base_value": "base",
    "full_value": "full",
    "speech_values": "speech_units",
    "speech_bands": "speech_bands",
    "speech_errors": "speech_errors",
    "interactions": "interactions",
    "node_values": "nodes",
    "node_lost": "lost",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the model says what it says of one sample (paper section 3.3, design section 7).

    Attributes:
        prediction: what `predict` says of the sample.
        target: the class whose score is explained first; `values` has all of them.
        values: for each class, what every part did to its score.
        method: `owen`, `paper`, `exact` or `sampled`.
        score: `probability`, or `log-odds` of it.
        modalities: what the sample has.
        units: kind of the speech units: `words` or `segments`; "" without speech.
        speech_units: in order of time.
        words_from: where the words' times come from, for instance `pocketsphinx 5.1.1`; "" for segments.
        mel_bands: bands that the spectrogram was divided into; 1 divides time only.
        image_grid: rows and columns of the picture's cells; None for superpixels, and without a picture.
        image_labels: for superpixels, the unit of each pixel of the model's 128 x 128 square, row by row; else empty.
        image_box: left, top, width, height, in pixels of the upright picture, of what the model saw; or None.
        image_size: width and height of the upright picture, or None.
        nodes: parts of the binary division, parents before children; empty for `exact` and `sampled`.
        kept: for each speech unit, whether its value for the target reaches the percentile (paper section 3.3).
        percentile: of the speech units' values; units below it are silenced.
        heard: words of the kept units, or what recognition made of the kept speech; None where neither is known.
        heard_by: the recogniser that gave `heard`; "" where they are the words of the kept units.
        speech_baseline: what absent speech is replaced by; "" without speech.
        image_baseline: likewise.
        n_samples: pairs of random orders, for `sampled`; else 0.
        seed: of the random orders.
        sensitivity: the explanation under the other baselines, where asked for.
        budget: what it cost.
        seconds: wall time of the explanation, without decoding, alignment and report.
        warnings: one line for each reason to read it with care.
        material: the signals, while they are at hand; not part of the JSON.
    """

    prediction: Prediction
    target: str
    values: Mapping[str, ClassValues]
    method: str
    score: str
    modalities: tuple[str, ...]
    units: str = ""
    speech_units: tuple[SpeechUnit, ...] = ()
    words_from: str = ""
    mel_bands: int = 1
    image_grid: tuple[int, int] | None = None
    image_labels: tuple[int, ...] = ()
    image_box: tuple[int, int, int, int] | None = None
    image_size: tuple[int, int] | None = None
    nodes: tuple[DivisionNode, ...] = ()
    kept: tuple[bool, ...] = ()
    percentile: float = 30.0
    heard: tuple[str, ...] | None = None
    heard_by: str = ""
    speech_baseline: str = ""
    image_baseline: str = ""
    n_samples: int = 0
    seed: int = 0
    sensitivity: tuple[Sensitivity, ...] = ()
    budget: Budget = field(default_factory=Budget)
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    material: Material | None = field(default=None, compare=False, repr=False)

    @property
    def emotion(self) -> str:
        """The most probable class."""
        return self.prediction.emotion

    @property
    def of_target(self) -> ClassValues:
        """The values for the target class."""
        return self.values[self.target]

    @property
    def modality_values(self) -> dict[str, float]:
        """Value of the speech and of the picture for the target; 0 for one that the sample lacks."""
        return {"speech": self.of_target.speech, "image": self.of_target.image}

    @property
    def interactions(self) -> tuple[tuple[float, ...], ...] | None:
        """The target's `[speech unit][row * columns + column]`, or None."""
        return self.of_target.interactions

    def _rows(self, values: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
        if self.image_grid is None:
            return (values,) if values else ()
        columns = self.image_grid[1]
        return tuple(values[at : at + columns] for at in range(0, len(values), columns))

    def speech_unit_name(self, index: int) -> str:
        """Return the word of a speech unit, or its seconds: `1.28-1.54 s`."""
        unit = self.speech_units[index]
        return unit.word or f"{unit.start_s:.2f}-{unit.end_s:.2f} s"

    def division_parts(self, node: DivisionNode) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the units of a part of the division and, for speech in bands, its mel bands (else empty)."""
        if node.modality == "image" or self.mel_bands == 1:
            return node.units, ()
        units, bands = zip(*(divmod(k, self.mel_bands) for k in node.units), strict=True)
        return tuple(sorted({*units})), tuple(sorted({*bands}))

    def image_unit_name(self, index: int) -> str:
        """Return a picture cell's place, counted from 1: `row 2, column 3`; or `region 7` of superpixels."""
        if self.image_grid is None:
            return f"region {index + 1}"
        row, column = divmod(index, self.image_grid[1])
        return f"row {row + 1}, column {column + 1}"

    def top(self, k: int = 5, target: str | None = None) -> tuple[tuple[Modality, str, float], ...]:
        """Return the `k` units that move the score most: (modality, name, value), the largest magnitude first."""
        values = self.values[target or self.target]
        found = zip(self._unit_names(), (*values.speech_units, *values.image_units), strict=True)
        units = [(modality, name, value) for (modality, name), value in found]
        return tuple(sorted(units, key=lambda unit: -abs(unit[2]))[:k])

    def _unit_names(self) -> list[tuple[Modality, str]]:
        speech, image = len(self.of_target.speech_units), len(self.of_target.image_units)
        names: list[tuple[Modality, str]] = [("speech", self.speech_unit_name(k)) for k in range(speech)]
        return names + [("image", self.image_unit_name(k)) for k in range(image)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON.

        The target's figures stand at the top; `classes` holds the same of each class.
        """
        plain = asdict(replace(self, values={}, material=None))
        del plain["values"], plain["material"]
        first = {"emotion": self.emotion, "target": self.target, "method": self.method}
        units = zip(plain["speech_units"], self.of_target.speech_units, strict=True)
        last = {
            "speech_units": [{**unit, "value": value} for unit, value in units],
            "classes": {name: self._class_dict(values) for name, values in self.values.items()},
            "prediction": self.prediction.to_dict(),
        }
        return first | self._class_dict(self.of_target) | plain | last

    def _class_dict(self, values: ClassValues) -> dict[str, Any]:
        first = {
            "base_value": values.base,
            "full_value": values.full,
            "efficiency_gap": values.efficiency_gap,
            "modality_values": {"speech": values.speech, "image": values.image},
            "alone_values": {"speech": values.speech_alone, "image": values.image_alone},
            "synergy": values.synergy,
            "speech_values": values.speech_units,
            "image_values": self._rows(values.image_units),
            "image_errors": self._rows(values.image_errors),
        }
        return first | {key: getattr(values, name) for key, name in _JSON_KEYS.items()}

    def to_json(self) -> str:
        """Return the explanation as one JSON object, without its material; the inverse of `from_json`."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the explanation that `to_json` wrote, without its material.

        Raises:
            InputError: the text is not such an explanation.
        """

        def tuples(rows: Any) -> Any:
            return tuple(map(tuples, rows)) if isinstance(rows, list) else rows

        def read(kind: type, own: Mapping[str, Any]) -> Any:
            return kind(**{each.name: tuples(own[each.name]) for each in fields(kind)})

        def values(own: Mapping[str, Any]) -> ClassValues:
            return ClassValues(
                **own["modality_values"],
                **{f"{name}_alone": value for name, value in own["alone_values"].items()},
                image_units=tuple(chain(*own["image_values"])),
                image_errors=tuple(chain(*own["image_errors"])),
                **{name: tuples(own[key]) for key, name in _JSON_KEYS.items()},
            )

        try:
            record = json.loads(text)
            special: dict[str, Any] = {
                "prediction": Prediction.from_json(json.dumps(record["prediction"])),
                "values": {name: values(own) for name, own in record["classes"].items()},
                "budget": Budget(**record["budget"]),
                "material": None,
            }
            for name, kind in (("speech_units", SpeechUnit), ("nodes", DivisionNode), ("sensitivity", Sensitivity)):
                special[name] = tuple(read(kind, own) for own in record[name])
            plain = {each.name: tuples(record[each.name]) for each in fields(cls) if each.name not in special}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"This is not the JSON of an explanation ({why}).") from None
        return cls(**special, **plain)

    def to_shap(self) -> Any:
        """Return a `shap.Explanation` of one sample: values `[units, classes]`, speech units first.

        Raises:
            MissingExtraError: shap is not installed.
        """
        try:
            import shap
        except ImportError:
            raise MissingExtraError("to_shap()", "bench") from None
        names = [": ".join(each) for each in self._unit_names()]
        columns = [(*values.speech_units, *values.image_units) for values in self.values.values()]
        return shap.Explanation(
            values=np.array(columns, np.float64).T,
            base_values=np.array([values.base for values in self.values.values()]),
            data=np.ones(len(names)),  # every unit is present
            feature_names=names,
            output_names=list(self.values),
        )

    def to_shapiq(self) -> Any:
        """Return `shapiq.InteractionValues` of the target, speech units first.

        Shapley values, and where the method gives interactions, the Shapley interaction index of each pair of a speech
        unit and a picture unit; no pairs within one modality.

        Raises:
            MissingExtraError: shapiq is not installed.
        """
        try:
            from shapiq import InteractionValues
        except ImportError:
            raise MissingExtraError("to_shapiq()", "bench") from None
        values = self.of_target
        singles = (*values.speech_units, *values.image_units)
        n_speech = len(values.speech_units)
        found: dict[tuple[int, ...], float] = {(): values.base, **{(k,): value for k, value in enumerate(singles)}}
        for s, row in enumerate(values.interactions or ()):
            found |= {(s, n_speech + k): value for k, value in enumerate(row)}
        together = values.interactions is not None
        return InteractionValues(
            values=np.array(list(found.values()), np.float64),
            index="SII" if together else "SV",
            max_order=2 if together else 1,
            min_order=0,
            n_players=len(singles),
            interaction_lookup={players: place for place, players in enumerate(found)},
            estimated=self.method == "sampled",
            baseline_value=values.base,
        )

    def _repr_html_(self) -> str:
        """Return a self-contained summary for notebooks: the modalities, and the units that move the score most."""
        rows = [*((name, "as a whole", value) for name, value in self.modality_values.items() if value), *self.top(6)]
        widest = max((abs(value) for _, _, value in rows), default=0.0) or 1.0
        cells = "".join(
            f"<tr><td>{escape(modality)}</td><td>{escape(name)}</td><td><div style='background:"
            f"{'#E6B800' if value >= 0 else '#3366BB'};height:0.8em;width:{10 * abs(value) / widest:.2f}em'></div></td>"
            f"<td>{value:+.3f}</td></tr>"
            for modality, name, value in rows
        )
        notes = "".join(f"<div>{escape(line)}</div>" for line in self.warnings)
        return (
            f"<div><b>{escape(self.target)}</b>: {escape(self.score)} from {self.of_target.base:.3f} (nothing) to "
            f"{self.of_target.full:.3f}, by {escape(self.method)}<table>{cells}</table>{notes}</div>"
        )
