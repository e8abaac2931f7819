"""MaPO: no base is asked."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from training.methods.mapo import Mapo

from .conftest import run, sides_of


def test_equal_errors_cost_the_error_and_beta_ln_2(tuned_policy, pairs, four) -> None:
    """Oracle 16, second part."""
    same = replace(pairs, rejected=pairs.chosen)
    _, numbers = run(Mapo(beta=0.3), tuned_policy(0.4), same, four)
    expected = numbers["error_chosen"].mean().item() + 0.3 * math.log(2)
    assert numbers["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_the_loss_by_hand(tuned_policy, uneven_pairs, four) -> None:
    policy = tuned_policy(0.4)
    _, numbers = run(Mapo(), policy, uneven_pairs, four)
    sides = sides_of(Mapo(), policy, uneven_pairs, four)
    chosen, rejected = sides.chosen.error.detach(), sides.rejected.error.detach()

    def f(m):
        return 0.5 * m / (torch.exp(0.5 * m) - 1)

    odds = 1000 * (f(chosen) - f(rejected)) - uneven_pairs.margins
    each = chosen - 0.1 * torch.nn.functional.logsigmoid(odds)
    assert_close(numbers["loss"], (uneven_pairs.weights * each).mean(), rtol=1e-6, atol=1e-9)


def test_the_base_is_never_asked(tuned_policy, pairs, four) -> None:
    policy = tuned_policy(0.4)
    list(Mapo().losses(policy, None, pairs, four))
    assert policy.asked
    assert all(is_on for _, is_on, _ in policy.asked)


def test_a_perfect_picture_has_finite_odds(tuned_policy, pairs, four) -> None:
    assert Mapo()._likelihood(torch.tensor([0.0])).item() == pytest.approx(1.0)
