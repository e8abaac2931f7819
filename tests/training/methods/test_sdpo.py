"""SDPO and DPO-C&M: where they are DPO, where they differ, and that a wholly masked batch teaches nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from training.methods.dpo import Dpo
from training.methods.dpo_cm import DpoCm
from training.methods.sdpo import Sdpo

from .conftest import run, sides_of, swapped

OPEN = {"mask_below": 0.0, "beta": 5.0}


@pytest.mark.parametrize("cls", [Sdpo, DpoCm])
def test_without_clip_range_and_mask_both_are_dpo(tuned_policy, pairs, four, cls) -> None:
    """Oracle 9, first part: ε = 0 and no mask, in loss and gradient, for any adapter."""
    for adapter in (0.0, 0.5):
        expected, numbers = run(Dpo(beta=5), tuned_policy(adapter), pairs, four)
        gradient, same = run(cls(**OPEN, weight_clip=0.0), tuned_policy(adapter), pairs, four)
        assert_close(gradient, expected)
        assert_close(same["loss"], numbers["loss"])


def test_at_the_start_sdpo_costs_ln_2_with_weighed_gradients_and_cm_a_weighed_ln_2(tuned_policy, pairs, four) -> None:
    """Oracle 9, second part."""
    inside, outside = Sdpo(**OPEN, weight_clip=1.0), DpoCm(**OPEN, weight_clip=1.0)
    gradient, numbers = run(inside, tuned_policy(), pairs, four)
    assert numbers["loss"].item() == pytest.approx(math.log(2), abs=1e-7)
    plain, _ = run(Dpo(beta=5), tuned_policy(), pairs, four)
    assert (gradient - plain).abs().max() > 1e-3
    _, weighed = run(outside, tuned_policy(), pairs, four)
    smaller = torch.minimum(weighed["weight_chosen"], weighed["weight_rejected"])
    assert weighed["loss"].item() == pytest.approx(smaller.mean().item() * math.log(2), rel=1e-5)


@pytest.mark.parametrize("cls", [Sdpo, DpoCm])
@pytest.mark.parametrize("normalise", ["unmasked", "batch"])
def test_a_wholly_masked_batch_costs_and_teaches_nothing(tuned_policy, pairs, four, cls, normalise) -> None:
    """Oracle 10, first part."""
    method = cls(beta=5, mask_below=1.0, normalise=normalise)
    gradient, numbers = run(method, tuned_policy(0.5), pairs, four)
    assert numbers["masked"].tolist() == [1.0] * 4
    assert numbers["loss"] == 0
    assert gradient.abs().max() == 0
    assert all(value.float().isfinite().all() for value in numbers.values())


@pytest.mark.parametrize("cls", [Sdpo, DpoCm])
def test_a_masked_pair_counts_for_nothing_and_the_others_share_its_part(tuned_policy, pairs, four, cls) -> None:
    policy = tuned_policy(0.5)
    smaller = cls().smaller(sides_of(cls(), policy, pairs, four))
    between = smaller.sort().values[1:3].mean().item()  # two pairs below it
    _, masked = run(cls(beta=5, mask_below=between), policy, pairs, four)
    _, by_batch = run(cls(beta=5, mask_below=between, normalise="batch"), policy, pairs, four)
    assert sorted(masked["masked"].tolist()) == [0, 0, 1, 1]
    assert_close(masked["loss"], 2 * by_batch["loss"])


def test_swapping_the_sides_swaps_sdpos_weights_and_keeps_cms(tuned_policy, pairs, four) -> None:
    """Oracle 11."""
    _, there = run(Sdpo(**OPEN), tuned_policy(0.5), pairs, four)
    _, back = run(Sdpo(**OPEN), tuned_policy(0.5), swapped(pairs), four)
    assert_close(there["weight_chosen"], back["weight_rejected"])
    assert_close(there["logit"], -back["logit"])
    method = DpoCm(**OPEN)
    shares = [method.shares(sides_of(method, tuned_policy(0.5), b, four), b) for b in (pairs, swapped(pairs))]
    assert_close(*shares)


def test_the_inverse_weight_is_the_inverse(tuned_policy, pairs, four) -> None:
    weight = torch.tensor([0.8, 0.9, 1.0])
    assert_close(Sdpo(weight_ratio="q/p", weight_clip=1).clipped(weight), 1 / weight)
    assert_close(Sdpo(weight_ratio="q/p", weight_clip=0.1).clipped(torch.tensor([0.0])), torch.tensor([1.1]))
    there, _ = run(Sdpo(**OPEN, weight_ratio="q/p"), tuned_policy(0.5), pairs, four)
    plain, _ = run(Sdpo(**OPEN), tuned_policy(0.5), pairs, four)
    assert (there - plain).abs().max() > 0
