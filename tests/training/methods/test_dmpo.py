"""DMPO: a divergence that is zero at an almost certain choice."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.methods.dmpo import Dmpo

from .conftest import run


@given(logit=st.floats(-30, 30), doubt=st.floats(0.001, 0.4))
def test_it_is_the_reverse_divergence_of_two_coins(logit: float, doubt: float) -> None:
    p = torch.sigmoid(torch.tensor(logit, dtype=torch.float64))
    cost = Dmpo(doubt=doubt).link(torch.tensor(logit, dtype=torch.float64))
    expected = torch.special.xlogy(p, p / (1 - doubt)) + torch.special.xlogy(1 - p, (1 - p) / doubt)
    assert cost.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-9)
    assert cost >= -1e-12


def test_it_is_zero_where_the_pair_is_won_as_surely_as_it_should_be() -> None:
    surely = torch.logit(torch.tensor(0.99, dtype=torch.float64)).requires_grad_()
    cost = Dmpo(doubt=0.01).link(surely)
    cost.backward()
    assert surely.grad is not None
    assert (cost.item(), surely.grad.item()) == pytest.approx((0, 0), abs=1e-9)


def test_at_the_start_it_costs_what_a_fair_coin_does(tuned_policy, pairs, four) -> None:
    _, numbers = run(Dmpo(), tuned_policy(), pairs, four)
    fair = 0.5 * math.log(0.5 / 0.99) + 0.5 * math.log(0.5 / 0.01)
    assert numbers["loss"].item() == pytest.approx(fair, rel=1e-6)
