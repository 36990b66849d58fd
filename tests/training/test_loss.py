"""The paper's loss against values worked out by hand, and its gradient where it is delicate."""

from __future__ import annotations

import math

import pytest
import torch

from parallelnet.options import Recipe
from parallelnet.training.learner import combined_loss, focal_loss, smooth


def logits_of(*probs: float) -> torch.Tensor:
    return torch.tensor([probs], dtype=torch.float64).log()


ONE_HOT = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        # alpha (1 - p)^gamma (-ln p) with alpha 0.25 and gamma 2, on paper:
        (0.7, 0.25 * 0.09 * 0.35667494393873245),  # 0.008025...
        (0.5, 0.25 * 0.25 * 0.6931471805599453),  # 0.043321...
        (0.1, 0.25 * 0.81 * 2.302585092994046),  # 0.466273...
    ],
)
def test_focal_loss_is_the_one_worked_out_by_hand(p: float, expected: float) -> None:
    rest = (1 - p) / 3
    # 1e-12: double precision over four terms.
    assert focal_loss(logits_of(p, rest, rest, rest), ONE_HOT).item() == pytest.approx(expected, rel=1e-12)


def test_a_certain_answer_has_a_finite_loss_and_gradient() -> None:
    logits = torch.tensor([[200.0, -200, 0, 0], [-200, 200, 0, 0]], requires_grad=True)
    loss = focal_loss(logits, smooth(torch.tensor([0, 0]), 4))
    loss.sum().backward()
    assert loss[0].item() == 0
    assert loss[1].item() == pytest.approx(0.25 * 400)  # -ln p of the true class is the difference of the logits
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_paper_adds_half_of_the_cross_entropy() -> None:
    logits = logits_of(0.7, 0.1, 0.1, 0.1)
    expected = 0.25 * 0.09 * -math.log(0.7) + 0.5 * -math.log(0.7)
    assert combined_loss(logits, ONE_HOT, Recipe()).item() == pytest.approx(expected)


def test_class_weights_average_over_weights() -> None:
    logits = torch.cat([logits_of(0.7, 0.1, 0.1, 0.1), logits_of(0.2, 0.4, 0.2, 0.2)])
    target = smooth(torch.tensor([0, 1]), 4).double()
    weights = torch.tensor([1.0, 3.0, 1.0, 1.0], dtype=torch.float64)
    loss = combined_loss(logits, target, Recipe(focal_weight=0, cross_entropy_weight=1), weights)
    assert loss.item() == pytest.approx((-math.log(0.7) - 3 * math.log(0.4)) / 4)


def test_smoothing_keeps_a_distribution() -> None:
    target = smooth(torch.tensor([2]), 4, 0.2)
    torch.testing.assert_close(target, torch.tensor([[0.05, 0.05, 0.85, 0.05]]))
