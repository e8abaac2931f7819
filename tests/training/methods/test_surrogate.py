"""The clipped surrogate and its diagnostics, by hand."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from training.methods._surrogate import clipped_loss, diagnostics


def test_the_loss_and_its_gradient_in_all_six_cases() -> None:
    """Within the range -A; beyond it nothing where that is where the advantage wants it, else still -A."""
    ratio = torch.tensor([0.7, 1.0, 1.3, 0.7, 1.0, 1.3], requires_grad=True)
    advantages = torch.tensor([2.0, 2.0, 2.0, -2.0, -2.0, -2.0])
    loss = clipped_loss(ratio, advantages, 0.2)
    assert_close(loss, torch.tensor([-1.4, -2.0, -2.4, 1.6, 2.0, 2.6]))
    (gradient,) = torch.autograd.grad(loss.sum(), ratio)
    assert_close(gradient, torch.tensor([-2.0, -2.0, 0.0, 0.0, 2.0, 2.0]))


def test_clipping_is_counted_where_it_stops_the_gradient_on_each_side() -> None:
    ratio = torch.tensor([1.3, 0.7, 1.3, 0.7, 1.0, 1.0, 1.4, 1.1])
    advantages = torch.tensor([1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 2.0, -1.0])
    found = diagnostics(ratio, torch.zeros(8), advantages, 0.2)
    assert found["clipped_above"].tolist() == [1, 0, 0, 0, 0, 0, 1, 0]
    assert found["clipped_below"].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert found["clipped_one_sided"].item() == pytest.approx((2 - 1) / 8)


@pytest.mark.parametrize(("ratio", "advantage", "side"), [(1.3, 1.0, 1.0), (0.7, -1.0, 1.0), (1.0, 1.0, 0.0)])
def test_all_on_one_side_is_as_one_sided_as_can_be(ratio: float, advantage: float, side: float) -> None:
    found = diagnostics(torch.full((3,), ratio), torch.zeros(3), torch.full((3,), advantage), 0.2)
    assert found["clipped_one_sided"].item() == side


def test_effective_samples_are_a_share_of_the_samples() -> None:
    """Kish: (sum of weights)² / sum of squares, over n."""
    advantages = torch.ones(4)
    assert diagnostics(advantages, torch.full((4,), 7.0), advantages, 0.2)["effective_samples"].item() == 1
    weights = torch.tensor([4.0, 2.0, 1.0, 1.0])
    found = diagnostics(advantages, weights.log() + 3.0, advantages, 0.2)["effective_samples"]
    assert found.item() == pytest.approx(64 / 22 / 4)
