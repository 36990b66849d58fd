"""A network with its recipe, as Lightning trains it: the paper's loss, one step, one validation, one optimizer."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, one_hot
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCohenKappa, MulticlassF1Score

from ..data.loading import Batch, augment_image, augment_speech, mixup
from ..errors import OptionError
from ..models.layers import embedding
from ..models.network import ParallelNet
from ..options import Recipe

# The paper names the focal loss without its parameters; these are those of its reference 31.
FOCAL_GAMMA, FOCAL_ALPHA = 2.0, 0.25


def focal_loss(logits: Tensor, target_probs: Tensor) -> Tensor:
    """Return the categorical focal loss of each sample, shape [n].

    `sum_c t_c * alpha * (1 - p_c)^gamma * (-log p_c)`, as Keras' CategoricalFocalCrossentropy defines it after the
    focal loss of the paper's reference 31. Worked in log space, so that p near 0 or 1 stays exact (Keras clips at
    1e-7).

    Args:
        logits: [n, n_classes].
        target_probs: [n, n_classes], rows sum to 1: one-hot, smoothed or mixed.
    """
    log_probs = log_softmax(logits, dim=-1)
    weight = (1 - log_probs.exp()) ** FOCAL_GAMMA
    return -(FOCAL_ALPHA * weight * target_probs * log_probs).sum(-1)


def combined_loss(logits: Tensor, target_probs: Tensor, recipe: Recipe, class_weights: Tensor | None = None) -> Tensor:
    """Return the weighted sum of focal loss and cross-entropy over the batch (paper section 4.2: weights 1 and 0.5).

    Args:
        logits: [n, n_classes].
        target_probs: [n, n_classes], as for `focal_loss`.
        recipe: its `focal_weight` and `cross_entropy_weight`.
        class_weights: [n_classes] or None; a sample weighs as its target does, and the mean is taken over weights.
    """
    entropy = cross_entropy(logits, target_probs, reduction="none")
    loss = recipe.focal_weight * focal_loss(logits, target_probs) + recipe.cross_entropy_weight * entropy
    if class_weights is None:
        return loss.mean()
    weight = target_probs @ class_weights
    return (loss * weight).sum() / weight.sum()


def smooth(labels: Tensor, n_classes: int, smoothing: float = 0.0) -> Tensor:
    """Return [n, n_classes] target probabilities of [n] class indices, with label smoothing."""
    return one_hot(labels, n_classes).float() * (1 - smoothing) + smoothing / n_classes


class Learner(lightning.LightningModule):
    """A network with its recipe, as Lightning trains it."""

    class_weights: Tensor | None

    def __init__(
        self,
        network: ParallelNet,
        recipe: Recipe,
        class_weights: Sequence[float] | None,
        seed: int,
        n_values: Sequence[int] = (),
    ) -> None:
        """Join them.

        Args:
            network: learns in place.
            recipe: how.
            class_weights: weight of each class in the loss, or None.
            seed: of augmentation, mixup and modality dropout.

            n_values: number of values of each auxiliary column.
        """
        super().__init__()
        self.network, self.recipe, self.seed = network, recipe, seed

        self.auxiliary = nn.ModuleList(nn.Linear(network.embed_dim, n) for n in n_values)
        n = len(network.classes)
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)
        accuracy, macro_f1 = MulticlassAccuracy(n, average="micro"), MulticlassF1Score(n, average="macro")
        metrics = MetricCollection({"accuracy": accuracy, "macro_f1": macro_f1, "kappa": MulticlassCohenKappa(n)})
        self.train_metrics = metrics.clone(prefix="train_")
        self.validation_metrics = metrics.clone(prefix="validation_")

    def on_train_epoch_start(self) -> None:
        """Keep frozen parts in evaluation mode: their running statistics are frozen too."""
        for module in self.network.modules():
            learns = [p.requires_grad for p in module.parameters()]
            if learns and not any(learns):
                module.eval()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one augmented batch (one window a sample)."""
        seed = (self.seed * 1_000_003 + self.current_epoch) * 1_000_003 + batch_idx * 1009 + self.global_rank
        # Seeded at each step, so that a resumed run draws what an uninterrupted one draws, dropout included.
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        speech, image = batch.speech, batch.image
        if "speech" in self.network.modalities:
            speech = augment_speech(speech, self.recipe.augment, generator)
        if "image" in self.network.modalities:
            image = augment_image(image, self.recipe.augment, generator)
        target = smooth(batch.label, len(self.network.classes), self.recipe.label_smoothing)
        speech, image, target = mixup([speech, image, target], self.recipe.augment.mixup, generator)
        batch = self._drop_modality(batch._replace(speech=speech, image=image), generator)
        logits, embedded = self._outputs(batch)
        loss = combined_loss(logits, target, self.recipe, self.class_weights)
        if self.auxiliary:
            loss = (
                loss
                + self.recipe.auxiliary_weight
                * torch.stack(
                    [
                        cross_entropy(head(embedded), values, ignore_index=-1, reduction="sum") / len(values)
                        for head, values in zip(self.auxiliary, batch.auxiliary.T, strict=True)
                    ]
                ).mean()
            )
        self.train_metrics.update(logits.detach().softmax(-1), batch.label)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.label), sync_dist=True)
        self.log_dict(self.train_metrics, on_step=False, on_epoch=True, batch_size=len(batch.label))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and metrics of one batch, window probabilities averaged as in `predict`."""
        n = len(batch.label)
        windows = self.network.logits(batch.speech, batch.image[batch.owner]).softmax(-1)
        summed = torch.zeros(n, windows.shape[1], device=windows.device).index_add_(0, batch.owner, windows)
        probs = summed / torch.bincount(batch.owner, minlength=n)[:, None]
        target = smooth(batch.label, len(self.network.classes))
        # The logarithm of averaged probabilities serves as logits: its softmax is those probabilities again.
        loss = combined_loss(probs.clamp_min(1e-12).log(), target, self.recipe, self.class_weights)
        self.validation_metrics.update(probs, batch.label)
        self.log("validation_loss", loss, on_epoch=True, batch_size=n, sync_dist=True)
        self.log_dict(self.validation_metrics, on_epoch=True, batch_size=n)

    def _outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits of one window a sample, and what auxiliary heads read: of the speech where there is one."""
        network = self.network
        if not self.auxiliary:
            return network.logits(batch.speech, batch.image), batch.speech
        if not network.separable:
            raise OptionError("--auxiliary needs a network whose branches are separate: no criss-cross before N2.")
        heard = None if network.speech is None else network.speech_branches(batch.speech)
        seen = None if network.image is None else network.image_branches(batch.image)
        own = seen if heard is None else heard
        assert own is not None
        return network.head(heard, seen), embedding(own).relu()

    def _drop_modality(self, batch: Batch, generator: torch.Generator) -> Batch:
        probability = self.recipe.modality_dropout
        if not probability or len(self.network.modalities) == 1:
            return batch
        draw = torch.rand(len(batch.label), generator=generator).to(batch.label.device)
        no_speech, no_image = draw < probability / 2, (draw >= probability / 2) & (draw < probability)
        speech, image = (
            x * ~absent[:, None, None, None] for x, absent in ((batch.speech, no_speech), (batch.image, no_image))
        )
        return batch._replace(speech=speech, image=image)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule; only weight matrices and kernels decay."""
        recipe, rate = self.recipe, self.recipe.learning_rate
        learns = [p for p in self.network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learns if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in learns if p.ndim <= 1], "weight_decay": 0.0},
        ]
        kinds: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        nesterov = partial(torch.optim.SGD, momentum=0.9, nesterov=True)
        optimizer = kinds.get(recipe.optimizer, nesterov)(groups, lr=rate)
        if recipe.schedule == "one-cycle":
            steps = int(self.trainer.estimated_stepping_batches)
            cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
            return [optimizer], [{"scheduler": cycle, "interval": "step"}]
        if recipe.schedule == "plateau":
            patience = recipe.plateau_patience
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=patience)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "validation_loss"}}
        return optimizer


def class_weights(labels: Sequence[int], n_classes: int) -> list[float]:
    """Return n / (n_classes * count) for each class, as scikit-learn's `balanced`."""
    return [len(labels) / (n_classes * max(count, 1)) for count in np.bincount(labels, minlength=n_classes).tolist()]
