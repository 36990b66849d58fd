"""The paper's training loss (section 4.2): categorical focal loss plus cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

FOCAL_GAMMA = 2.0
FOCAL_ALPHA = 0.25


def focal_loss(logits: Tensor, target_probs: Tensor, gamma: float = FOCAL_GAMMA, alpha: float = FOCAL_ALPHA) -> Tensor:
    """Return the categorical focal loss of each sample, shape [n].

    `sum_c t_c * alpha * (1 - p_c)^gamma * (-log p_c)`, as Keras' CategoricalFocalCrossentropy defines it after the
    focal loss of the paper's reference 31. The paper names the loss without its parameters; gamma 2 and alpha 0.25
    are those of the reference. Worked in log space, so that p near 0 or 1 stays exact (Keras clips at 1e-7).

    Args:
        logits: [n, n_classes].
        target_probs: [n, n_classes], rows sum to 1: one-hot, smoothed or mixed.
        gamma: how strongly easy samples are weighed down.
        alpha: constant factor.
    """
    log_probs = log_softmax(logits, dim=-1)
    weight = (1 - log_probs.exp()) ** gamma
    return -(alpha * weight * target_probs * log_probs).sum(-1)


def cross_entropy(logits: Tensor, target_probs: Tensor) -> Tensor:
    """Return the categorical cross-entropy of each sample, shape [n]; arguments as in `focal_loss`."""
    return -(target_probs * log_softmax(logits, dim=-1)).sum(-1)


def combined_loss(
    logits: Tensor,
    target_probs: Tensor,
    *,
    focal_weight: float,
    cross_entropy_weight: float,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Return the weighted sum of both losses, averaged over the batch (paper section 4.2: weights 1 and 0.5).

    Args:
        logits: [n, n_classes].
        target_probs: [n, n_classes].
        focal_weight: weight of the focal loss.
        cross_entropy_weight: weight of the cross-entropy.
        class_weights: [n_classes] or None; a sample weighs as its target does, and the mean is taken over weights.
    """
    loss = focal_weight * focal_loss(logits, target_probs) + cross_entropy_weight * cross_entropy(logits, target_probs)
    if class_weights is None:
        return loss.mean()
    weight = target_probs @ class_weights
    return (loss * weight).sum() / weight.sum()


def smooth(labels: Tensor, n_classes: int, smoothing: float) -> Tensor:
    """Return [n, n_classes] target probabilities of [n] class indices, with label smoothing."""
    one_hot = torch.nn.functional.one_hot(labels, n_classes).float()
    return one_hot * (1 - smoothing) + smoothing / n_classes
