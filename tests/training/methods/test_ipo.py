"""IPO: a margin of fixed width."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.methods.ipo import Ipo

from .conftest import run, sides_of


@given(u=st.floats(-3, 3), beta=st.floats(0.1, 100))
def test_only_its_own_width_costs_nothing(u: float, beta: float) -> None:
    """Oracle 4: zero iff u = 1/(2β)."""
    method, width = Ipo(beta=beta), 1 / (2 * beta)
    cost = method.link(torch.tensor([width, u], dtype=torch.float64))
    assert cost[0] == 0
    assert (cost[1] > 0) == ((u - width) ** 2 > 0)


def test_the_logit_is_the_difference_of_gaps(tuned_policy, pairs, four) -> None:
    policy = tuned_policy(0.4)
    _, numbers = run(Ipo(), policy, pairs, four)
    sides = sides_of(Ipo(), policy, pairs, four)
    u = (sides.rejected.gap - sides.chosen.gap).detach()
    assert torch.equal(numbers["logit"], u)
    assert numbers["loss"].item() == pytest.approx((u - 1 / 1000).square().mean().item(), rel=1e-6)
