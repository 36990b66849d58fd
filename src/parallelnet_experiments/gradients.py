"""Explanations from gradients, by captum on the torch network, and networks with random weights (the `train` extra).

What a gradient says of each cell is brought to the players that the other methods have. A network is asked about the
probability that `predict` says, at its temperature and over all windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parallelnet import runtime
from parallelnet.checkpoint import Checkpoint
from parallelnet.errors import InputError
from parallelnet.explanation.players import ImageSignal, Players, SpeechSignal

from . import peers

if TYPE_CHECKING:
    from parallelnet.models.network import ParallelNet

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[np.float32]

STEPS = 50  # of integrated gradients: captum's default


def open_network(opened: Checkpoint, *, random_seed: int | None = None) -> ParallelNet:
    """Return a checkpoint's torch network, in evaluation mode.

    Args:
        opened: as `checkpoint.read` gives it.
        random_seed: draw all weights anew, as before training, in place of the checkpoint's.

    Raises:
        CheckpointError: it has no weights for torch, or others.
        MissingExtraError: torch is not installed.
    """
    _, torch = peers.captum()
    from parallelnet.models import network, variants, weights

    with torch.random.fork_rng():
        torch.manual_seed(random_seed or 0)
        made = network.build(variants.NetworkOptions.from_dict(opened.facts.network), opened.facts.classes)
    if random_seed is None:
        weights.load_weights(made, opened.weights)
    return made.eval()


class TorchParts:
    """Runs a torch network behind `runtime.Model`: what a game needs of one that is in no checkpoint."""

    def __init__(self, network: ParallelNet) -> None:
        """Take the network."""
        self._network = network

    def run(self, part: runtime.Part, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        """Return the outputs of one part, each [n, ...] float32."""
        import torch

        with torch.inference_mode():
            tensors = [torch.from_numpy(np.ascontiguousarray(x)) for x in arrays]
            outputs: tuple[Any, ...]
            if part == "speech":
                outputs = self._network.speech_branches(tensors[0])
            elif part == "image":
                outputs = self._network.image_branches(tensors[0])
            elif part == "joint":
                outputs = (self._network.logits(*tensors),)
            else:
                pairs = iter(zip(tensors[::2], tensors[1::2], strict=True))
                given = {name: next(pairs) for name in self._network.modalities}
                outputs = (self._network.head(given.get("speech"), given.get("image")),)
            return tuple(output.numpy() for output in outputs)


def random_model(opened: Checkpoint, seed: int) -> tuple[ParallelNet, runtime.Model]:
    """Return a network with random weights, and the same ready to be played with (Adebayo et al., arXiv 1810.03292)."""
    network = open_network(opened, random_seed=seed)
    return network, runtime.Model(opened, TorchParts(network), "cpu")


class Gradients:
    """Gradient methods on one sample.

    Attributes:
        n_players: speech's and the picture's.
    """

    def __init__(
        self,
        network: ParallelNet,
        speech: SpeechSignal | None,
        image: ImageSignal | None,
        *,
        column: int,
        temperature: float,
    ) -> None:
        """Take what is explained.

        Args:
            network: in evaluation mode.
            speech: the sample's, with the baseline that integrated gradients start from; None without speech.
            image: likewise.
            column: class that is explained.
            temperature: divisor of the logits.
        """
        self._captum, self._torch = peers.captum()
        self._network, self._column, self._temperature = network, column, temperature
        self._starts = (0,) if speech is None else speech.starts
        self._names: list[str] = []
        self._players: list[Players] = []
        self._inputs: list[Any] = []
        self._baselines: list[Any] = []
        for name, side in (("speech", speech), ("image", image)):
            if side is None:
                continue
            signal = side.mel[None] if isinstance(side, SpeechSignal) else side.pixels
            absent = side.baseline[None] if isinstance(side, SpeechSignal) else side.baseline
            self._names.append(name)
            self._players.append(side.players)
            self._inputs.append(self._torch.from_numpy(np.array(signal[None])))
            self._baselines.append(self._torch.from_numpy(np.array(absent[None])))

    def integrated(self) -> Floats:
        """Return integrated gradients from the baseline (Sundararajan et al. 2017), summed over each player, [n].

        Sums, for they add up to the whole change of the score, like the values of the other methods.
        """
        method = self._captum.IntegratedGradients(self._probability)
        found = method.attribute(tuple(self._inputs), baselines=tuple(self._baselines), n_steps=STEPS)
        sides = zip(found, self._players, strict=True)
        return np.concatenate([_by_player(cells[0].sum(0).double().numpy(), side, mean=False) for cells, side in sides])

    def grad_cam(self) -> Floats:
        """Return Grad-CAM (Selvaraju et al. 2017) on the last map of each N2, averaged over each player, [n].

        Without its final ReLU, which would only make equal what is below zero. It sees nothing of N1.

        Raises:
            InputError: more than one window: captum keeps the map of one pass.
        """
        if len(self._starts) > 1:
            raise InputError(f"Grad-CAM takes one window; the speech has {len(self._starts)}.")
        parts = []
        for name, side in zip(self._names, self._players, strict=True):
            branches = getattr(self._network, name)
            layer = self._last_map(branches.n2.backbone)
            found = self._captum.LayerGradCam(self._probability, layer).attribute(tuple(self._inputs)).detach()
            if branches.mirror:  # the map of the picture, and of its mirror image
                found = (found[:1] + found[1:].flip(3)) / 2
            scaled = self._torch.nn.functional.interpolate(
                found, side.owners.shape, mode="bilinear", align_corners=False
            )
            parts.append(_by_player(scaled[0, 0].double().numpy(), side, mean=True))
        return np.concatenate(parts)

    def _probability(self, *signals: Any) -> Any:
        given = dict(zip(self._names, signals, strict=True))
        probs = []
        for start in self._starts:
            speech = given["speech"][..., start : start + 128] if "speech" in given else None
            logits = self._network.logits(speech, given.get("image")) / self._temperature
            probs.append(logits.softmax(1)[:, self._column])
        return self._torch.stack(probs).mean(0)

    def _last_map(self, backbone: Any) -> Any:
        """Return the module whose output is the last one in the backbone to tell places apart."""
        seen: list[Any] = []

        def watch(module: Any, _: Any, output: Any) -> None:
            if isinstance(output, self._torch.Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1:
                seen.append(module)

        hooks = [module.register_forward_hook(watch) for module in backbone.modules()]
        try:
            with self._torch.no_grad():
                self._probability(*self._inputs)
        finally:
            for hook in hooks:
                hook.remove()
        assert seen, "no map of the backbone tells places apart"
        return seen[-1]


def _by_player(cells: Floats, players: Players, *, mean: bool) -> Floats:
    owned = players.owners >= 0
    owners = players.owners[owned].astype(np.int64)
    sums: Floats = np.bincount(owners, cells[owned], players.n).astype(np.float64)
    return sums / np.bincount(owners, minlength=players.n) if mean else sums
