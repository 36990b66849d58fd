"""From a voice and a picture to an `Explanation`: decode, divide, play the game, put names to the numbers.

The paper's Algorithm 1, with its method as one of four and everything that it leaves open as an option.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import lru_cache
from itertools import chain, compress, product
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import audio, judging, words
from ..errors import OptionError, unknown
from ..options import ExplainOptions, ModelOptions
from ..predictor import Predictor, load_chosen
from ..types import Prediction
from . import players, units
from .estimators import EXPLAINERS, Attribution
from .faithfulness import rank_correlation
from .game import NetworkGame
from .parts import Budget, ClassValues, DivisionNode, Material, Sensitivity, SpeechUnit
from .result import Explanation

WordTimes = Sequence[tuple[str, float, float]]
_MODEL_FIELDS = tuple(field.name for field in fields(ModelOptions))


def explain(
    speech: Any = None,
    image: Any = None,
    *,
    model: Predictor | None = None,
    options: ExplainOptions | None = None,
    sample_rate_hz: int | None = None,
    word_times: WordTimes = (),
    label: str = "",
    **changes: Any,
) -> Explanation:
    """Return why the model says what it says of one sample (paper section 3.3, design section 7).

    Args:
        speech: path, bytes, binary stream or array; None: no speech.
        image: path, bytes, binary stream, array or PIL picture; None: no picture.
        model: from `load`; None opens the checkpoint that the options name, and keeps the last one.
        options: how to explain; None takes the defaults.
        sample_rate_hz: of a speech array; files carry their own.
        word_times: (word, start in s, end in s) where they are known; they become the speech units.
        label: the truth, for `target="label"`.
        **changes: single options by name, in place of those in `options`: `method="exact", n_segments=8, grid="2x4"`.

    Raises:
        InputError: something that cannot be read, words that do not fit the speech, or a division finer than the input.
        OptionError: an unknown option, class, or a contradiction.
        MissingExtraError: words were asked for and the recogniser is not installed.
    """
    known = {field.name for field in fields(ExplainOptions)}
    for name in changes.keys() - known:
        raise unknown("option", name, known, "ExplainOptions")
    chosen = replace(options or ExplainOptions(), **changes)
    if model is None:
        model = _opened(ModelOptions(**{name: getattr(chosen, name) for name in _MODEL_FIELDS}), chosen.labels)
    elif changes.keys() & {*_MODEL_FIELDS, "labels"}:
        raise OptionError("model= is open already; checkpoint, device and labels belong to load(). Leave out one.")
    heard, seen = model.sense(speech, image, sample_rate_hz=sample_rate_hz)
    sample = _Sample(model, chosen)
    if heard is not None:
        sample.divide_speech(heard, word_times)
    signals = model.signals_of(sample.sound, *seen[:1])  # of a clip, the best frame alone
    if signals.image is not None:  # without a face it may have been left out
        sample.divide_picture(seen[0])
    if heard is None and (chosen.text is not None or chosen.transcribe):
        raise OptionError("--text and --transcribe divide speech, and there is none. Mend: add --speech FILE.")
    prediction = model.predict_signals(signals)
    return sample.explained(prediction, _target(chosen.target, label, prediction))


_opened = lru_cache(maxsize=1)(load_chosen)


def _target(asked: str | None, label: str, prediction: Prediction) -> str:
    """Return the class that is explained."""
    if asked is None:
        return prediction.emotion
    if asked == "label" and asked not in prediction.probs:
        if not label:
            raise OptionError("--target label explains the truth, and none is known. Mend: name the class itself.")
        asked = label
    if asked not in prediction.probs:
        raise unknown("class", asked, prediction.probs, "--target")
    return asked


class _Sample:
    """One sample, decoded and divided once, so that every baseline plays the same parts."""

    def __init__(self, model: Predictor, chosen: ExplainOptions) -> None:
        self.model, self.chosen = model, chosen
        self.sound: judging.Heard | None = None
        self.view: judging.Seen | None = None
        self.units: tuple[SpeechUnit, ...] = ()
        self.words_from = ""
        self.warnings: list[str] = []

    def divide_speech(self, sound: judging.Heard, word_times: WordTimes) -> None:
        """Take the speech, and divide it into words or segments."""
        # Words, tables and sounds need all of it.
        self.sound = sound = replace(sound, waveform=np.asarray(sound.waveform))
        n, clip_s = len(sound.part), self.model.signals.clip_s
        known = self._words(np.asarray(sound.waveform), word_times)
        if known:
            asked = units.word_units(known, len(sound.waveform) / audio.SAMPLE_RATE_HZ)
        else:
            asked = units.segments(n / audio.SAMPLE_RATE_HZ, self.chosen.n_segments, start_s=sound.offset_s)
        self.units = units.fit_units(asked, n, clip_s, sound.offset_s)
        if len(self.units) < len(asked):
            self.warnings.append(
                f"{len(asked)} {'words' if known else 'segments'} became {len(self.units)} units: a mask silences "
                f"whole frames of {1000 * audio.hop(clip_s) / audio.SAMPLE_RATE_HZ:.0f} ms, and some had none of their "
                "own."
            )

    def _words(self, waveform: npt.NDArray[np.float32], word_times: WordTimes) -> WordTimes:
        """Return the words with their times; nothing for segments."""
        chosen = self.chosen
        if chosen.units == "segments":
            return ()
        if chosen.text is not None:
            found = words.align(waveform, chosen.text, engine=chosen.stt, model=chosen.stt_model)
        elif chosen.transcribe:
            found = words.transcribe(waveform, engine=chosen.stt, model=chosen.stt_model)
        elif word_times or chosen.units != "words":
            self.words_from = "given" if word_times else ""
            return word_times
        else:
            raise OptionError(
                "--units words needs words: give --text TEXT, --transcribe, or a manifest with word_times."
            )
        self.words_from = found.engine
        self.warnings += found.warnings
        return found.words

    def divide_picture(self, view: judging.Seen) -> None:
        """Take the picture, and divide it into cells or superpixels."""
        self.view, n, seen = view, self.chosen.superpixels, view.face.box[2:]
        self.grid = None if n else self.chosen.rows_columns
        if self.grid:
            self.owners = players.grid_owners(*self.grid, seen)
        else:
            self.owners = players.superpixel_owners(view.pixels, n, seen)
            # SLIC starts from a grid and joins crumbs: the count is only near what was asked for.
            found = int(self.owners.max()) + 1
            if found != n:
                self.warnings.append(f"{n} superpixels were asked for, {found} came out.")

    def _speech_players(self, sound: judging.Heard, baseline: str) -> players.Players:
        return players.speech_players(
            np.asarray(sound.part),
            self.model.signals,
            self.units,
            offset_s=sound.offset_s,
            starts=sound.starts(self.model.signals.clip_s),
            baseline=baseline,
            mel_bands=self.chosen.mel_bands,
        )

    def explained(self, prediction: Prediction, target: str) -> Explanation:
        """Return why the model says it."""
        chosen, started = self.chosen, time.perf_counter()
        values, nodes, budget = self._played(chosen.baseline_speech, chosen.baseline_image)
        seconds = time.perf_counter() - started
        return Explanation(
            prediction=prediction,
            target=target,
            values=values,
            modalities=prediction.modalities,
            nodes=nodes,
            n_samples=chosen.n_samples if chosen.method == "sampled" else 0,
            **{name: getattr(chosen, name) for name in ("method", "score", "percentile", "seed")},
            budget=budget,
            seconds=seconds,
            warnings=(*prediction.warnings, *self.warnings, *_cautions(chosen, values[target], budget)),
            sensitivity=self._sensitivity(values[target], target) if chosen.sensitivity else (),
            **self._facts(values[target]),
        )

    def _played(
        self, speech_baseline: str, image_baseline: str
    ) -> tuple[dict[str, ClassValues], tuple[DivisionNode, ...], Budget]:
        """Return each class's values under a pair of baselines, the parts of the division, and what it cost."""
        model, chosen = self.model, self.chosen
        speech = self._speech_players(self.sound, speech_baseline) if self.sound else None
        picture = None
        if self.view is not None:
            picture = players.image_players(self.view.pixels, self.owners, self.grid, baseline=image_baseline)
        game = NetworkGame(
            model.model, speech, picture, columns=model.columns, score=chosen.score, memory_mb=chosen.memory_mb
        )
        found = EXPLAINERS[chosen.method](game, n_samples=chosen.n_samples, seed=chosen.seed)
        return _values(found, model.classes, chosen.mel_bands if speech else 1), found.nodes, game.budget

    def _sensitivity(self, ours: ClassValues, target: str) -> tuple[Sensitivity, ...]:
        """Return the explanation under every other pair of baselines."""
        chosen, found = self.chosen, []
        for pair in product(
            [chosen.baseline_speech] if self.sound is None else players.SPEECH_BASELINES,
            [chosen.baseline_image] if self.view is None else players.IMAGE_BASELINES,
        ):
            if pair != (chosen.baseline_speech, chosen.baseline_image):
                values = self._played(*pair)[0][target]
                rho = rank_correlation(*((*own.speech_units, *own.image_units) for own in (ours, values)))
                names = pair[0] if self.sound else "", pair[1] if self.view else ""
                found.append(
                    Sensitivity(*names, values.base, values.speech, values.image, None if math.isnan(rho) else rho)
                )
        return tuple(found)

    def _facts(self, values: ClassValues) -> dict[str, Any]:
        """Return the fields about the signals, with what is kept of the speech, as sound and words (section 3.3)."""
        found: dict[str, Any] = {}
        material: dict[str, Any] = {}
        chosen, clip_s = self.chosen, self.model.signals.clip_s
        if self.view is not None:
            height, width = self.view.rgb.shape[:2]
            material |= {"picture": self.view.rgb}
            found |= {
                "image_grid": self.grid,
                "image_labels": () if self.grid else tuple(self.owners.ravel().tolist()),
                "image_box": self.view.face.box,
                "image_size": (width, height),
                "image_baseline": chosen.baseline_image,
            }
        if self.sound is not None:
            waveform = np.asarray(self.sound.waveform)
            kept = units.kept_units(values.speech_units, chosen.percentile)
            sound = units.keep(waveform, self.units, kept)
            material |= {
                "waveform": waveform,
                "kept": sound,
                "silenced": waveform - sound,
                "inverted": self._inverted(self.sound, values) if chosen.invert else None,
                "log_mel": audio.log_mel_for_windows(np.asarray(self.sound.part), clip_s),
                "log_mel_start_s": self.sound.offset_s,
                "frame_s": audio.hop(clip_s) / audio.SAMPLE_RATE_HZ,
            }
            found |= {
                "units": "words" if self.units[0].word else "segments",
                "speech_units": self.units,
                "words_from": self.words_from,
                "mel_bands": chosen.mel_bands,
                "speech_baseline": chosen.baseline_speech,
                "kept": kept,
            }
            if chosen.listen:
                heard = words.transcribe(sound, engine=chosen.stt, model=chosen.stt_model)
                found |= {"heard": tuple(word.text for word in heard.words), "heard_by": heard.engine}
            elif found["units"] == "words":
                found["heard"] = tuple(unit.word for unit in compress(self.units, kept))
        return found | {"material": Material(**material)}

    def _inverted(self, sound: judging.Heard, values: ClassValues) -> npt.NDArray[np.float32]:
        """Return speech from the spectrogram without its low parts, bands apart where it was divided into bands."""
        own = self._speech_players(sound, "silence")
        kept = units.kept_units(tuple(chain(*values.speech_bands)) or values.speech_units, self.chosen.percentile)
        stays = np.append(kept, True)  # the last one is nobody's: owner -1
        mel = np.where(stays[own.owners], own.signal[0], np.float32(0))
        return units.invert(mel, self.model.signals.clip_s, len(sound.part))


def _values(found: Attribution, classes: Sequence[str], mel_bands: int) -> dict[str, ClassValues]:
    """Return the numbers under their classes' names, mel bands summed to units."""

    def of(rows: npt.NDArray[Any] | None, c: int) -> Any:
        return () if rows is None else tuple(rows[:, c].tolist())

    # Bands of one unit are sampled together; their errors are added, which is never too small.
    of_players = (found.speech, found.speech_errors, found.interactions)
    speech, errors, together = (players.fold_bands(rows, mel_bands) for rows in of_players)
    values = {}
    for c, name in enumerate(classes):
        bands = found.speech[:, c].reshape(-1, mel_bands).tolist() if mel_bands > 1 else ()
        corners = found.corners[..., c].tolist()
        values[name] = ClassValues(
            base=corners[0][0],
            speech_alone=corners[1][0],
            image_alone=corners[0][1],
            full=corners[1][1],
            speech=float(found.modality[0, c]),
            image=float(found.modality[1, c]),
            speech_units=of(speech, c),
            image_units=of(found.image, c),
            speech_bands=tuple(map(tuple, bands)),
            speech_errors=of(errors, c),
            image_errors=of(found.image_errors, c),
            interactions=None if together is None else tuple(map(tuple, together[..., c].tolist())),
            nodes=of(found.node_values, c),
            lost=of(found.node_lost, c),
        )
    return values


def _cautions(chosen: ExplainOptions, values: ClassValues, budget: Budget) -> tuple[str, ...]:
    """Return what the numbers themselves warn of."""
    said = []
    if chosen.method == "paper":
        gap = values.efficiency_gap
        said.append(f"The paper's division loses interactions: its parts miss the whole by {gap:.3f} (see `lost`).")
    if chosen.method == "sampled":
        largest = max((*values.speech_errors, *values.image_errors), default=0.0)
        said.append(f"Values are estimates from {chosen.n_samples} random orders; largest error {largest:.3f}.")
    if budget.joint_passes:
        n = budget.joint_passes
        said.append(f"This network's branches do not separate: every pairing took a pass of all of it, {n:,} in all.")
    return tuple(said)
