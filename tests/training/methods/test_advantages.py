"""Advantages, and which of a group are trained."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from training.methods._advantages import best_and_worst, group_advantages, group_std

rewards = st.lists(st.floats(-10, 10), min_size=8, max_size=8, unique=True).map(torch.tensor)


@given(rewards=rewards)
def test_a_groups_advantages_have_mean_zero(rewards: torch.Tensor) -> None:
    for everyone in (None, rewards):
        assert_close(group_advantages(rewards.double(), 4, everyone).reshape(2, 4).mean(dim=1), torch.zeros(2).double())


@given(rewards=rewards, scale=st.floats(0.01, 100), offset=st.floats(-100, 100))
def test_a_groups_own_deviation_makes_them_blind_to_the_rewards_scale(rewards, scale: float, offset: float) -> None:
    same = group_advantages(scale * rewards.double() + offset, 4)
    assert_close(same, group_advantages(rewards.double(), 4), rtol=1e-3, atol=1e-3)


def test_a_hand_worked_group() -> None:
    """Groups (1, 2, 3) and (0, 0, 6): means 2, unbiased deviations 1 and √12. All six: deviation √(13/3)."""
    rewards = torch.tensor([1.0, 2, 3, 0, 0, 6], dtype=torch.float64)
    root = 12**-0.5
    own = torch.tensor([-1, 0, 1, -2 * root, -2 * root, 4 * root], dtype=torch.float64)
    assert_close(group_advantages(rewards, 3), own, rtol=0, atol=1e-7)
    shared = torch.tensor([-1.0, 0, 1, -2, -2, 4], dtype=torch.float64) / ((13 / 3) ** 0.5 + 1e-4)
    assert_close(group_advantages(rewards, 3, rewards), shared)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4, -3.3])
def test_equal_rewards_give_zero_and_not_amplified_rounding(value: float) -> None:
    rewards = torch.full((24,), value)
    rewards[3] += value * 1e-7  # float32's last bit
    for everyone in (None, torch.arange(24.0)):
        assert group_advantages(rewards, 12, everyone).abs().max() == 0
    assert group_std(rewards, 12).abs().max() == 0


def test_small_true_differences_are_not_taken_for_rounding() -> None:
    rewards = 0.2 + 1e-4 * torch.arange(4.0)
    assert_close(group_advantages(rewards, 4), group_advantages(torch.arange(4.0), 4), rtol=1e-3, atol=1e-3)


def test_a_deviation_of_nothing_is_padded_and_not_blown_up() -> None:
    """Rewards 0 and 2e-8: deviation √2 e-8, to which 1e-8 is added."""
    found = group_advantages(torch.tensor([0.0, 2e-8], dtype=torch.float64), 2)
    assert_close(found, torch.tensor([-1.0, 1.0], dtype=torch.float64) / (2**0.5 + 1))


@given(rewards=rewards, half=st.integers(1, 2))
def test_best_and_worst_keeps_exactly_the_ends_of_each_group(rewards: torch.Tensor, half: int) -> None:
    advantages = group_advantages(rewards.double(), 4)
    kept = best_and_worst(advantages, 4, 2 * half)
    assert kept.shape == (2, 2 * half)
    for group, places in enumerate(kept.tolist()):
        order = sorted(range(4 * group, 4 * group + 4), key=lambda place: float(advantages[place]))
        if len({float(advantages[place]) for place in order}) == 4:
            assert places == sorted(order[:half] + order[-half:])
