"""AlignProp: DRaFT with a drawn cut."""

from __future__ import annotations

from collections import Counter
from statistics import NormalDist
from typing import Any

import pytest
import torch
from tiny.trajectories import CurvedReward, descend, schedule_of
from torch.testing import assert_close

from training.contracts import PromptBatch
from training.methods.align_prop import AlignProp
from training.methods.draft import Draft
from training.randomness import Rng

PLAIN = {"augmentation": 0.0, "preference": "plain", "rollout_steps": 8}


def test_the_defaults_are_the_published_constants() -> None:
    """Source: 50 steps, cut int(N(42, 5)), loss times 0.01."""
    method = AlignProp()
    assert (method.rollout_steps, method.cut, method.loss_scale, method.margin) == (50, "normal", 0.01, None)
    assert (50 * method.cut_mean, 50 * method.cut_spread) == (42, 5)


@pytest.mark.parametrize("cut", ["normal", "uniform"])
def test_a_cut_at_b_is_draft_with_the_steps_after_it(bending_policy, batch: PromptBatch, cut: str) -> None:
    """Oracle 10: cut b equals DRaFT-K with K = T - b; the loss is 0.01 of it."""
    policy, seen = bending_policy(schedule=schedule_of("velocity")), set()
    for update in range(6):
        rng = Rng(3, update, (0, 1))
        method = AlignProp(**PLAIN, cut=cut)
        gradient, reports = descend(policy, method.losses(policy, CurvedReward(), batch, rng))
        draft = Draft(**PLAIN, k=8 - method.draw_cut(rng), loss_scale=0.01)
        expected, _ = descend(policy, draft.losses(policy, CurvedReward(), batch, rng))
        assert_close(gradient, expected, rtol=1e-10, atol=1e-14)
        seen.add(len(reports))
    assert len(seen) > 1


def drawn(**settings: Any) -> Counter[int]:
    return Counter(AlignProp(**settings).draw_cut(Rng(1, update, (0,))) for update in range(4000))


def test_the_uniform_cut_takes_every_step_alike() -> None:
    counts = drawn(rollout_steps=10, cut="uniform")
    assert sorted(counts) == list(range(10))
    assert max(abs(count / 4000 - 0.1) for count in counts.values()) < 4 * (0.1 / 4000) ** 0.5


def test_the_normal_cut_is_the_papers_with_what_falls_outside_drawn_again() -> None:
    """int(N(42, 5)) given 1 ≤ b < 50: P(b) = (Φ(b + 1) - Φ(b)) / (Φ(50) - Φ(1))."""
    counts, normal = drawn(), NormalDist(42, 5)
    whole = normal.cdf(50) - normal.cdf(1)
    for b in (35, 40, 42, 45, 49):
        expected = (normal.cdf(b + 1) - normal.cdf(b)) / whole
        assert counts[b] / 4000 == pytest.approx(expected, abs=4 * (expected / 4000) ** 0.5)
    assert min(counts) >= 1
    assert max(counts) == 49


def test_the_ends_of_the_normal_cut_hold_for_any_shape() -> None:
    assert set(drawn(rollout_steps=4, cut_mean=0.0, cut_spread=1.0)) == {1, 2, 3}
    assert set(drawn(rollout_steps=2)) == {1}
    assert set(drawn(cut_mean=0.0, cut_spread=1e-4)) <= set(range(1, 50))  # as good as never within the rollout


def test_all_samples_of_an_update_share_their_cut_and_updates_do_not() -> None:
    method = AlignProp(cut="uniform")
    cuts = {method.draw_cut(Rng(1, 0, indices)) for indices in ((0,), (5, 6), (1000,))}
    assert len(cuts) == 1
    assert len({method.draw_cut(Rng(1, update, (0,))) for update in range(20)}) > 10


def test_rewards_above_a_margin_stop_pulling(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    """The aesthetic loss |r - 10| below 10 is relu(10 - r)."""
    policy = bending_policy()
    free, _ = descend(policy, AlignProp(**PLAIN).losses(policy, CurvedReward(), batch, rng))
    hungry, _ = descend(policy, AlignProp(**PLAIN, margin=1e4).losses(policy, CurvedReward(), batch, rng))
    full, _ = descend(policy, AlignProp(**PLAIN, margin=-1e4).losses(policy, CurvedReward(), batch, rng))
    assert_close(hungry, free)
    assert torch.count_nonzero(full) == 0
