"""From a voice and a picture to an `Explanation`: decode, divide, play the game, put names to the numbers.

The paper's Algorithm 1, with its method as one of four and everything that it leaves open as an option.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import audio, judging, words
from ..errors import InputError, OptionError, unknown
from ..options import ExplainOptions, ModelOptions
from ..predictor import Predictor, load_chosen
from ..types import Prediction
from . import listening, players, units
from .estimators import EXPLAINERS, Attribution
from .faithfulness import rank_correlation
from .game import NetworkGame
from .parts import ClassValues, Material, Sensitivity, SpeechUnit
from .result import Explanation

WordTimes = Sequence[tuple[str, float, float]]
_MODEL_FIELDS = tuple(sorted({field.name for field in fields(ModelOptions)} | {"labels"}))


@dataclass(frozen=True, slots=True)
class _Speech:
    """The speech of one sample, decoded and divided; frozen here, so that every baseline plays the same parts."""

    sound: judging.Heard
    part: npt.NDArray[np.float32]
    units: tuple[SpeechUnit, ...]
    kind: str
    words_from: str
    warnings: tuple[str, ...]

    def facts(self, chosen: ExplainOptions) -> dict[str, Any]:
        """Return the fields of `Explanation` that are about the speech."""
        return {
            "units": self.kind,
            "speech_units": self.units,
            "words_from": self.words_from,
            "mel_bands": chosen.mel_bands,
            "speech_baseline": chosen.baseline_speech,
        }

    def side(self, model: Predictor, chosen: ExplainOptions, baseline: str) -> players.SpeechSignal:
        """Return the speech side of a game."""
        return players.speech_signal(
            self.part,
            model.signals,
            self.units,
            offset_s=self.sound.offset_s,
            starts=self.sound.starts(model.signals.clip_s),
            baseline=baseline,
            mel_bands=chosen.mel_bands,
        )


@dataclass(frozen=True, slots=True)
class _Picture:
    """The picture of one sample, decoded and divided."""

    view: judging.Seen
    owners: npt.NDArray[np.int16]
    warnings: tuple[str, ...]

    def facts(self, chosen: ExplainOptions) -> dict[str, Any]:
        """Return the fields of `Explanation` that are about the picture."""
        height, width = self.view.rgb.shape[:2]
        return {
            "image_grid": None if chosen.superpixels else chosen.rows_columns,
            "image_labels": tuple(self.owners.ravel().tolist()) if chosen.superpixels else (),
            "image_box": self.view.face.box,
            "image_size": (width, height),
            "image_baseline": chosen.baseline_image,
        }

    def side(self, chosen: ExplainOptions, baseline: str) -> players.ImageSignal:
        """Return the picture side of a game."""
        if chosen.superpixels:
            halved = players.superpixel_division(self.owners)
        else:
            halved = players.grid_division(*chosen.rows_columns)
        return players.image_signal(self.view.pixels, self.owners, halved, baseline=baseline)


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
    chosen = _chosen(options, changes)
    if model is None:
        model = _opened(*(getattr(chosen, name) for name in _MODEL_FIELDS))
    elif any(name in changes for name in _MODEL_FIELDS):
        raise OptionError("model= is open already; checkpoint, device and labels belong to load(). Leave out one.")
    model.model.refuse_unless_taken(speech, image)
    heard = None if speech is None else _speech(model, speech, sample_rate_hz, chosen, word_times)
    seen = None if image is None else _picture(model, image, chosen)
    if heard is None and (chosen.text is not None or chosen.transcribe):
        raise OptionError("--text and --transcribe divide speech, and there is none. Mend: add --speech FILE.")
    return _explained(model, heard, seen, chosen, label)


def _explained(
    model: Predictor, heard: _Speech | None, seen: _Picture | None, chosen: ExplainOptions, label: str
) -> Explanation:
    """Return why the model says what it says of a decoded sample."""
    there = [part for part in (heard, seen) if part is not None]
    prediction = model.predict_signals(
        model.signals_of(None if heard is None else heard.sound, None if seen is None else seen.view)
    )
    target = _target(chosen.target, label, prediction)
    started = time.perf_counter()
    game, found = _played(model, heard, seen, chosen, (chosen.baseline_speech, chosen.baseline_image))
    explanation = Explanation(
        prediction=prediction,
        target=target,
        values=_values(found, model.classes, chosen.mel_bands if heard else 1),
        method=chosen.method,
        score=chosen.score,
        modalities=prediction.modalities,
        nodes=found.nodes,
        percentile=chosen.percentile,
        n_samples=chosen.n_samples if chosen.method == "sampled" else 0,
        seed=chosen.seed,
        budget=game.budget,
        seconds=time.perf_counter() - started,
        warnings=(*prediction.warnings, *(line for part in there for line in part.warnings)),
        material=Material(picture=seen and seen.view.rgb, image_owners=seen and seen.owners),
        **{name: value for part in there for name, value in part.facts(chosen).items()},
    )
    explanation = replace(explanation, warnings=(*explanation.warnings, *_cautions(explanation)))
    if heard is not None:
        explanation = _listened(explanation, heard, model, chosen)
    if chosen.sensitivity:
        explanation = replace(explanation, sensitivity=_sensitivity(explanation, model, heard, seen, chosen))
    return explanation


@lru_cache(maxsize=1)
def _opened(*values: Any) -> Predictor:
    given = dict(zip(_MODEL_FIELDS, values, strict=True))
    labels = given.pop("labels")
    return load_chosen(ModelOptions(**given), labels)


def _chosen(options: ExplainOptions | None, changes: Mapping[str, Any]) -> ExplainOptions:
    known = {field.name for field in fields(ExplainOptions)}
    for name in changes:
        if name not in known:
            raise unknown("option", name, known, "ExplainOptions")
    return ExplainOptions(**changes) if options is None else replace(options, **changes)


def _speech(
    model: Predictor, source: Any, sample_rate_hz: int | None, chosen: ExplainOptions, word_times: WordTimes
) -> _Speech:
    sound = model.hear(source, sample_rate_hz=sample_rate_hz)
    sound = replace(sound, waveform=np.asarray(sound.waveform))  # words, tables and sounds need all of it
    part = np.asarray(sound.part)
    known, words_from, warnings = _words(np.asarray(sound.waveform), chosen, word_times)
    if known:
        asked = units.word_units(known, len(sound.waveform) / audio.SAMPLE_RATE_HZ)
    else:
        asked = units.segments(len(part) / audio.SAMPLE_RATE_HZ, chosen.n_segments, start_s=sound.offset_s)
    parts = units.fit_units(asked, len(part), model.signals.clip_s, sound.offset_s)
    if len(parts) < len(asked):
        joined = f"{len(asked)} {'words' if known else 'segments'} became {len(parts)} units: a mask silences whole"
        warnings = (*warnings, f"{joined} frames of {1000 * _frame_s(model):.0f} ms, and some had none of their own.")
    return _Speech(sound, part, parts, "words" if known else "segments", words_from, warnings)


def _frame_s(model: Predictor) -> float:
    return audio.hop(model.signals.clip_s) / audio.SAMPLE_RATE_HZ


def _words(
    waveform: npt.NDArray[np.float32], chosen: ExplainOptions, word_times: WordTimes
) -> tuple[WordTimes, str, tuple[str, ...]]:
    """Return the words with their times, where they come from, and what to warn of; nothing for segments."""
    if chosen.units == "segments":
        return (), "", ()
    if chosen.text is not None:
        found = words.align(waveform, chosen.text, engine=chosen.stt, model=chosen.stt_model)
    elif chosen.transcribe:
        found = words.transcribe(waveform, engine=chosen.stt, model=chosen.stt_model)
        if not found.words:
            raise InputError(f"{found.engine} found no words in the speech. Mend: --text TEXT, or --units segments.")
    elif word_times:
        return word_times, "given", ()
    elif chosen.units == "words":
        raise OptionError("--units words needs words: give --text TEXT, --transcribe, or a manifest with word_times.")
    else:
        return (), "", ()
    return [(word.text, word.start_s, word.end_s) for word in found.words], found.engine, found.warnings


def _picture(model: Predictor, source: Any, chosen: ExplainOptions) -> _Picture:
    view = model.see(source)
    seen = view.face.box[2], view.face.box[3]
    warnings: tuple[str, ...] = ()
    if chosen.superpixels:
        owners = players.superpixel_owners(view.pixels, chosen.superpixels, seen)
        # SLIC starts from a grid and joins crumbs: the count is only near what was asked for.
        found = int(owners.max()) + 1
        if found != chosen.superpixels:
            warnings = (f"{chosen.superpixels} superpixels were asked for, {found} came out.",)
    else:
        owners = players.grid_owners(*chosen.rows_columns, seen)
    return _Picture(view, owners, warnings)


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


def _played(
    model: Predictor,
    heard: _Speech | None,
    seen: _Picture | None,
    chosen: ExplainOptions,
    baselines: tuple[str, str],
) -> tuple[NetworkGame, Attribution]:
    """Return the game of this sample, played by the chosen method with the baselines of speech and picture."""
    speech = None if heard is None else heard.side(model, chosen, baselines[0])
    picture = None if seen is None else seen.side(chosen, baselines[1])
    game = NetworkGame(
        model.model, speech, picture, columns=model.columns, score=chosen.score, memory_mb=chosen.memory_mb
    )
    return game, EXPLAINERS[chosen.method](game, n_samples=chosen.n_samples, seed=chosen.seed)


def _values(found: Attribution, classes: Sequence[str], mel_bands: int) -> dict[str, ClassValues]:
    """Return the numbers under their classes' names, mel bands summed to units."""
    speech = players.fold_bands(found.speech, mel_bands)
    # Bands of one unit are sampled together; their errors are added, which is never too small.
    errors = None if found.speech_errors is None else players.fold_bands(found.speech_errors, mel_bands)
    together = None if found.interactions is None else players.fold_bands(found.interactions, mel_bands)
    values = {}
    for c, name in enumerate(classes):
        bands = found.speech[:, c].reshape(-1, mel_bands) if mel_bands > 1 else ()
        values[name] = ClassValues(
            base=float(found.corners[0, 0, c]),
            speech_alone=float(found.corners[1, 0, c]),
            image_alone=float(found.corners[0, 1, c]),
            full=float(found.corners[1, 1, c]),
            speech=float(found.modality[0, c]),
            image=float(found.modality[1, c]),
            speech_units=_floats(speech[:, c]),
            image_units=_floats(found.image[:, c]),
            speech_bands=tuple(map(_floats, bands)),
            speech_errors=() if errors is None else _floats(errors[:, c]),
            image_errors=() if found.image_errors is None else _floats(found.image_errors[:, c]),
            interactions=None if together is None else tuple(map(_floats, together[..., c])),
            nodes=_floats(found.node_values[:, c]),
            lost=_floats(found.node_lost[:, c]),
        )
    return values


def _floats(row: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(map(float, row))


def _cautions(explanation: Explanation) -> tuple[str, ...]:
    """Return what the numbers themselves warn of."""
    said = []
    if explanation.method == "paper":
        gap = explanation.efficiency_gap
        said.append(f"The paper's division loses interactions: its parts miss the whole by {gap:.3f} (see `lost`).")
    if explanation.method == "sampled":
        values = explanation.of_target
        largest = max((*values.speech_errors, *values.image_errors), default=0.0)
        said.append(f"Values are estimates from {explanation.n_samples} random orders; largest error {largest:.3f}.")
    if explanation.budget.joint_passes:
        n = explanation.budget.joint_passes
        said.append(f"This network's branches do not separate: every pairing took a pass of all of it, {n:,} in all.")
    return tuple(said)


def _listened(explanation: Explanation, heard: _Speech, model: Predictor, chosen: ExplainOptions) -> Explanation:
    """Return the explanation with what is kept of the speech, as sound and as words (paper section 3.3)."""
    kept = listening.kept_units(explanation.of_target.speech_units, chosen.percentile)
    waveform = np.asarray(heard.sound.waveform)
    sound = listening.keep(waveform, heard.units, kept)
    said: tuple[str, ...] | None = None
    heard_by = ""
    if chosen.listen:
        found = words.transcribe(sound, engine=chosen.stt, model=chosen.stt_model)
        said, heard_by = tuple(word.text for word in found.words), found.engine
    elif heard.kind == "words":
        said = tuple(unit.word for unit, is_kept in zip(heard.units, kept, strict=True) if is_kept)
    assert explanation.material is not None
    material = replace(
        explanation.material,
        waveform=waveform,
        kept=sound,
        silenced=waveform - sound,
        inverted=_inverted(explanation, heard, model, chosen) if chosen.invert else None,
        log_mel=audio.log_mel_for_windows(heard.part, model.signals.clip_s),
        log_mel_start_s=heard.sound.offset_s,
        frame_s=_frame_s(model),
    )
    return replace(explanation, kept=kept, heard=said, heard_by=heard_by, material=material)


def _inverted(
    explanation: Explanation, heard: _Speech, model: Predictor, chosen: ExplainOptions
) -> npt.NDArray[np.float32]:
    """Return speech from the spectrogram without its low parts, bands apart where it was divided into bands."""
    bands = explanation.mel_bands
    values = explanation.of_target
    parts = [x for row in values.speech_bands for x in row] if bands > 1 else values.speech_units
    signal = heard.side(model, chosen, "silence")
    kept = listening.kept_units(parts, explanation.percentile)
    mel = listening.masked(signal.mel, signal.players.owners, kept)
    return listening.invert(mel, model.signals.clip_s, len(heard.part))


def _sensitivity(
    explanation: Explanation, model: Predictor, heard: _Speech | None, seen: _Picture | None, chosen: ExplainOptions
) -> tuple[Sensitivity, ...]:
    """Return the explanation under every other pair of baselines."""
    ours = explanation.of_target
    found = []
    for speech in players.SPEECH_BASELINES if heard is not None else [chosen.baseline_speech]:
        for picture in players.IMAGE_BASELINES if seen is not None else [chosen.baseline_image]:
            if (speech, picture) == (chosen.baseline_speech, chosen.baseline_image):
                continue
            played = _played(model, heard, seen, chosen, (speech, picture))[1]
            values = _values(played, model.classes, explanation.mel_bands)[explanation.target]
            rho = rank_correlation(*((*own.speech_units, *own.image_units) for own in (ours, values)))
            names = speech if heard else "", picture if seen else ""
            found.append(
                Sensitivity(*names, values.base, values.speech, values.image, None if math.isnan(rho) else rho)
            )
    return tuple(found)
