"""Load a checkpoint once; then paths or arrays in, predictions out, one or many.

Files are decoded by a few threads and judged block by block (`voting`); so a list costs less than its parts, and what
a modality says alone costs only the head.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any, Literal, TypeVar, overload

import numpy as np

from . import audio, checkpoint, image, judging, runtime, video, voting
from .errors import InputError, ManifestError, OptionError, ParallelNetError, unknown
from .options import LimitOptions, ModelOptions
from .types import Modalities, Prediction, Sample
from .voting import Signals

# A block is run when it holds as many samples or windows: their log-mels take 8 MB, whatever the list's length.
_BLOCK_SAMPLES, _BLOCK_WINDOWS = 64, 256
_DECODERS = min(4, os.cpu_count() or 1)
_LIMITS = LimitOptions()

_T = TypeVar("_T")


class Predictor:
    """A checkpoint that is ready to predict, from any number of threads; `load` is its other name.

    It can be pickled and copied: the other process, or the copy, opens the checkpoint's folder anew.

    Attributes:
        name: the checkpoint's name.
        facts: what its `model.json` says.
        classes: classes that it chooses from, in order; fewer than the checkpoint's where `labels` were given.
        modalities: what it takes.
        signals: how files become tensors; the checkpoint's settings, but for `face` where it was given.
        when_no_face: what decides of speech and an image without a face: the `speech`, or both (`use`).
        columns: where these classes stand among the checkpoint's.
        model: the network (`runtime.Model`), for explanations.
    """

    def __init__(
        self,
        name: str | os.PathLike[str] | checkpoint.Checkpoint | None = None,
        *,
        device: runtime.Device = "onnx",
        face: Literal["auto", "off"] | None = None,
        when_no_face: Literal["speech", "use"] | None = None,
        int8: bool = False,
        n_threads: int | None = None,
        labels: Sequence[str] = (),
        limits: LimitOptions = _LIMITS,
    ) -> None:
        """Open a checkpoint and its network.

        Args:
            name: bundled checkpoint, folder, `hf:OWNER/NAME`, or one that is read; None is the bundled default.
            device: `onnx`, or torch's `cpu`, `cuda`, `mps` (needs the `train` extra).
            face: crop the largest face (`auto`) or use whole pictures (`off`); None: as the checkpoint was trained.
            when_no_face: where `auto` finds none and there is speech, let the `speech` alone decide, or `use` the whole
                image; None: `speech` for a checkpoint that learnt from faces.
            int8: run the quantised graphs.
            n_threads: CPU threads of the network; None leaves the choice to the library.
            labels: classes to choose from; their probabilities are renormalised. Empty: all of the checkpoint's.
            limits: how large an input may be.

        Raises:
            CheckpointError: no such checkpoint, or a damaged one.
            OptionError: an unknown device, class or contradiction.
            MissingExtraError: torch was asked for and is not installed.
        """
        opened = name if isinstance(name, checkpoint.Checkpoint) else checkpoint.read(checkpoint.resolve(name))
        self.facts = facts = opened.facts
        self.name, self.modalities, known = facts.name, facts.modalities, facts.classes
        self.signals = facts.signals if face is None else replace(facts.signals, face=face)
        # A checkpoint that learnt from whole scenes was trained with face=off, and judges every image.
        self.when_no_face = when_no_face or ("speech" if facts.signals.face == "auto" else "use")
        self.limits = limits
        for label in set(labels) - set(known):
            raise unknown("class", label, known, "--labels")
        if labels and len(set(labels)) < 2:
            raise OptionError(f"--labels is {', '.join(labels)}; at least two classes, or none for all of them.")
        self.classes = tuple(label for label in known if not labels or label in labels)
        self.columns = [known.index(label) for label in self.classes]
        self.model = runtime.open_runtime(opened, device=device, int8=int8, n_threads=n_threads)
        self._opened, self._int8 = opened, int8

    def asked(self) -> dict[str, Any]:
        """Return all that decides its answers, as plain values: `records.begun` compares them."""
        digest = self._opened.digest(torch=self.model.device != "onnx", int8=self._int8)
        return {
            "checkpoint": {"name": self.name, "sha256": digest},
            "device": self.model.device,
            "int8": self._int8,
            "labels": list(self.classes),
            "when_no_face": self.when_no_face,
            **asdict(self.signals),
        }

    @overload
    def predict(
        self, speech: audio.Source | None = ..., image: image.Source | None = ..., *, sample_rate_hz: int | None = ...
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        speech: Sequence[audio.Source | None] | None = ...,
        image: Sequence[image.Source | None] | None = ...,
        *,
        sample_rate_hz: int | None = ...,
    ) -> list[Prediction]: ...

    def predict(self, speech: Any = None, image: Any = None, *, sample_rate_hz: int | None = None) -> Any:
        """Return the prediction of one sample, or of each sample of a list.

        Args:
            speech: path, bytes, binary stream or array; None: no speech. A list of these for many samples.
            image: path, bytes, binary stream, array or PIL picture; None: no picture. A list of these likewise, of
                the same length, with None where a sample lacks one.
            sample_rate_hz: of speech arrays; files carry their own.

        Returns:
            A `Prediction`, or a list of them in the order of the input.

        Raises:
            InputError: something that cannot be read, neither modality, or one that the checkpoint does not take.
        """
        given = {"speech": speech, "image": image}
        lists = {name: x for name, x in given.items() if isinstance(x, list | tuple)}
        if not lists:
            return self.predict_signals(self._single(speech, image, sample_rate_hz))
        for name, x in given.items():
            if x is not None and name not in lists:
                raise InputError(f"{name} is one source beside a list; give a list of the same length, or None.")
        n, *others = map(len, lists.values())
        if others not in ([], [n]):
            raise InputError(f"There are {n} speech sources and {others[0]} pictures; as many of each.")
        pairs: Iterator[tuple[Any, Any]] = zip(*(lists.get(name, [None] * n) for name in given), strict=True)
        found: list[Prediction] = []
        for outcome in self._outcomes(lambda pair: self._single(*pair, sample_rate_hz), pairs, _BLOCK_SAMPLES):
            if isinstance(outcome, ParallelNetError):
                raise InputError(f"Item {len(found)} of the list: {outcome}") from outcome
            if isinstance(outcome, Exception):
                raise outcome
            found.append(outcome)
        return found

    def predict_each(
        self, samples: Iterable[Sample], *, modalities: Modalities = "both", singly: bool = False
    ) -> Iterator[Prediction | Exception]:
        """Yield for each sample its prediction, or the exception that kept it from one; in order, block by block.

        Args:
            samples: their paths are opened as they are.
            modalities: `speech` or `image` leaves the other out of every sample; `both` uses whatever a sample has
                and the checkpoint takes.
            singly: do not wait for a block to fill, where that gains little (on a CPU), so that a stop loses one
                sample and not a block. What else is in a block then changes no digit either.

        Raises:
            OptionError: a modality that the checkpoint does not take.
        """
        takes = self.modalities if modalities == "both" else (modalities,)
        if not set(takes) <= set(self.modalities):
            raise OptionError(
                f"--modalities is {modalities!r}; checkpoint {self.name} takes {' and '.join(self.modalities)}."
            )

        def decode(sample: Sample) -> Signals:
            if sample.problem:
                raise ManifestError(sample.problem)
            speech, picture = (getattr(sample, name) if name in takes else None for name in ("speech", "image"))
            if modalities != "both" and speech is picture is None and (sample.speech or sample.image):
                raise InputError(f"It has no {modalities}, and --modalities is {modalities}.")
            return self._single(speech, picture, None, sample.face)

        return self._outcomes(decode, samples, 1 if singly and self.model.device in ("onnx", "cpu") else _BLOCK_SAMPLES)

    def predict_faces(
        self, speech: audio.Source | None, image: image.Source | None, *, sample_rate_hz: int | None = None
    ) -> list[Prediction]:
        """Return a prediction for each face of an image, the largest first, with the same speech; one without any face.

        Of a clip they are the faces of its best frame.

        Of a clip they are the faces of its best frame.

        Raises:
            InputError: as `predict`.
        """
        heard, seen = self.sense(speech, image, sample_rate_hz=sample_rate_hz)
        if not seen:
            return [self.predict_signals(self.signals_of(heard))]
        first = seen[0]
        others = (judging.see(first.rgb, self.signals, k + 1) for k in range(len(first.face.others)))
        each_face = (first, *(replace(each, frame=first.frame) for each in others))
        return [self.predict_signals(self.signals_of(heard, each)) for each in each_face]

    def each_face(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """Yield a sample for each face of its image, the largest first; the ids of the others end in #2, #3, ..."""
        for sample in samples:
            yield sample
            n_others = 0
            with suppress(Exception):  # who predicts the sample will say why it cannot be read
                if sample.image is not None and not sample.problem and "image" in self.modalities:
                    n_others = len(self.see(sample.image).face.others)
            yield from (replace(sample, id=f"{sample.id}#{k + 1}", face=k) for k in range(1, n_others + 1))

    def predict_signals(self, signals: Signals) -> Prediction:
        """Return the prediction of one sample that is decoded already."""
        (found,) = self._judged([signals])
        assert isinstance(found, Prediction)
        return found

    def hear(self, source: audio.Source, *, sample_rate_hz: int | None = None) -> judging.Heard:
        """Return speech as this checkpoint hears it, with the reasons to distrust an answer; see `audio.read_long`."""
        notes: list[str] = []
        waveform = audio.read_long(source, sample_rate_hz=sample_rate_hz, limits=self.limits, notes=notes)
        return judging.hear(waveform, self.signals, notes)

    def see(self, source: image.Source, which: int = 0) -> judging.Seen:
        """Return a picture as this checkpoint sees it, with the reasons to distrust an answer; see `image.read`.

        Of several faces `which` is seen, 0 for the largest.
        """
        return judging.see(image.read(source, limits=self.limits), self.signals, which)

    def sense(
        self,
        speech: audio.Source | None,
        picture: image.Source | None,
        *,
        sample_rate_hz: int | None = None,
        which: int = 0,
    ) -> tuple[judging.Heard | None, tuple[judging.Seen, ...]]:
        """Return what of one sample can be judged; of a clip its best frames, the best one first.

        The same file for both is a clip: what it lacks is said among the reasons, and is no error (`video.read`). Of
        several faces of an image `which` is seen, 0 for the largest.
        """
        if speech is not None and _name(speech) == _name(picture):
            clip = video.read(speech, self.signals, self.limits, self.modalities)
            if clip.waveform is not None:
                return judging.hear(clip.waveform, self.signals, clip.notes), clip.seen
            first, *others = clip.seen
            return None, (replace(first, reasons=(*clip.notes, *first.reasons)), *others)
        self.model.refuse_unless_taken(speech, picture)
        heard = None if speech is None else self.hear(speech, sample_rate_hz=sample_rate_hz)
        return heard, () if picture is None else (self.see(picture, which),)

    def signals_of(self, heard: judging.Heard | None, *seen: judging.Seen) -> Signals:
        """Return one sample for `predict_signals`; of several frames each votes, and the first is named.

        Without a face, what is seen may be left out (`when_no_face`).
        """
        used, reasons = judging.together(heard, seen[0] if seen else None, self.when_no_face)
        kept = () if used is None else seen
        return Signals(
            None if heard is None else heard.windows(self.signals.clip_s),
            np.stack([each.pixels for each in kept]) if kept else None,
            seen[0].face if seen else None,
            tuple(dict.fromkeys((*reasons, *(reason for each in kept[1:] for reason in each.reasons)))),
            tuple(each.frame for each in kept if each.frame),
        )

    def _single(self, speech: Any, picture: Any, sample_rate_hz: int | None, which: int = 0) -> Signals:
        heard, seen = self.sense(speech, picture, sample_rate_hz=sample_rate_hz, which=which)
        return self.signals_of(heard, *seen)

    def _outcomes(
        self, decode: Callable[[_T], Signals], items: Iterable[_T], n_block: int
    ) -> Iterator[Prediction | Exception]:
        block: list[Signals | Exception] = []
        n_windows = 0
        for signals in _decoded(decode, items):
            block.append(signals)
            n_windows += signals.n_windows if isinstance(signals, Signals) else 0
            if len(block) >= n_block or n_windows >= _BLOCK_WINDOWS:
                yield from self._judged(block)
                block, n_windows = [], 0
        yield from self._judged(block)

    def _judged(self, block: Sequence[Signals | Exception]) -> Iterator[Prediction | Exception]:
        sound = {k: signals for k, signals in enumerate(block) if isinstance(signals, Signals)}
        by_modalities = voting.votes(self.model, sound, self.columns)
        for k, signals in enumerate(block):
            if isinstance(signals, Signals):
                yield self._prediction(signals, {name: of[k] for name, of in by_modalities.items() if k in of})
            else:
                yield signals

    def _prediction(self, signals: Signals, votes: Mapping[Modalities, voting.Probs]) -> Prediction:
        said: dict[str, dict[str, float]]
        said = {name: dict(zip(self.classes, map(float, probs), strict=True)) for name, probs in votes.items()}
        # A sample with one modality is predicted by the very evaluation that says what the modality says alone.
        setting = "both" if "both" in said else next(iter(said))
        probs, threshold = said.pop(setting), self.facts.conformal.get(setting)
        top = max(probs, key=probs.__getitem__)
        likely = [name for name, p in probs.items() if name == top or (threshold is not None and 1 - p <= threshold)]
        warnings = list(signals.reasons)
        if len(self.classes) < len(self.facts.classes):
            allowed = ", ".join(self.classes)
            warnings.append(f"Only {allowed} were allowed; the conformal set keeps its 90 % only if one is true.")
        if threshold is None:
            warnings.append("The conformal set is not calibrated for this input: it names the top class only.")
        return Prediction(
            emotion=top,
            probs=probs,
            conformal_set=tuple(likely),
            uncertain=len(likely) > 1,
            modalities=("speech", "image") if setting == "both" else (setting,),
            alone=said,
            face=signals.face,
            n_windows=signals.n_windows,
            checkpoint=self.name,
            warnings=tuple(warnings),
            frames=signals.frames,
        )


load = Predictor


def load_chosen(options: ModelOptions, labels: Sequence[str] = ()) -> Predictor:
    """Return the checkpoint that the options name, ready to predict; see `load`."""
    given: dict[str, Any] = {name: getattr(options, name) for name in ("device", "when_no_face", "int8", "limits")}
    face = "auto" if options.face == "all" else options.face
    return load(options.checkpoint, face=face, n_threads=options.threads or None, labels=labels, **given)


def predict(speech: Any = None, image: Any = None, *, sample_rate_hz: int | None = None) -> Any:
    """Return what the bundled checkpoint says of one sample or a list; see `Predictor.predict`.

    The checkpoint is opened on the first call and kept.
    """
    return _bundled().predict(speech, image, sample_rate_hz=sample_rate_hz)


@lru_cache(maxsize=1)
def _bundled() -> Predictor:
    return load()


def _name(source: Any) -> Any:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else id(source)


def _decoded(decode: Callable[[_T], Signals], items: Iterable[_T]) -> Iterator[Signals | Exception]:
    def attempt(item: _T) -> Signals | Exception:
        try:
            return decode(item)
        except Exception as error:  # one bad file must not end a batch, whatever its decoder raises
            return error

    pool = ThreadPoolExecutor(_DECODERS)
    ahead: deque[Future[Signals | Exception]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(attempt, item))
            if len(ahead) > 2 * _DECODERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # a stop waits for the files that are being read, not for those in line
