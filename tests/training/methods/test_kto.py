"""KTO on single judgements."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from training.methods._denoising import noised
from training.methods.kto import Kto

from .conftest import run, seen


def at_once(method: Kto, policy, batch, rng) -> tuple[torch.Tensor, torch.Tensor]:
    policy.output.grad = None
    drawn = method.draw(policy, rng)
    view = noised(batch.latents, rng.normal("noise", policy.latent_shape), drawn.level)
    loss, _ = method.objective([seen(method, policy, view, drawn.level, batch)], batch, drawn.sigma)
    loss.backward()
    return loss.detach(), policy.output.grad.clone()


def test_equal_gains_give_logits_of_zero_and_half_the_weight(tuned_policy, likes, four) -> None:
    """Oracle 16, first part: at the start g = 0 everywhere."""
    gradient, numbers = run(Kto(), tuned_policy(), likes, four)
    assert numbers["logit"].tolist() == [0.0] * 4
    assert numbers["loss"].item() == pytest.approx(0.5)
    assert gradient.abs().max() > 0


def test_two_phases_give_the_gradient_of_one_graph(tuned_policy, likes, four) -> None:
    method = Kto(beta=7, liked_weight=1.5, disliked_weight=0.5, sft_weight=0.2)
    loss, expected = at_once(method, tuned_policy(0.4), likes, four)
    gradient, numbers = run(method, tuned_policy(0.4), likes, four)
    assert expected.abs().max() > 1e-4
    assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
    assert_close(numbers["loss"], loss)


def test_a_liked_picture_pulls_where_a_disliked_one_pushes(tuned_policy, likes, four) -> None:
    every = torch.ones(4, dtype=torch.bool)
    liked, _ = run(Kto(beta=5), tuned_policy(), replace(likes, liked=every), four)
    disliked, _ = run(Kto(beta=5), tuned_policy(), replace(likes, liked=~every), four)
    assert_close(liked, -disliked)


def test_the_mean_gain_is_not_below_zero_and_carries_no_gradient(tuned_policy, likes, four) -> None:
    policy, method = tuned_policy(0.6), Kto(beta=5)
    _, numbers = run(method, policy, likes, four)
    drawn = method.draw(policy, four)
    view = noised(likes.latents, four.normal("noise", policy.latent_shape), drawn.level)
    gain = -seen(method, policy, view, drawn.level, likes).gap.detach()
    assert_close(numbers["baseline"], gain.mean().clamp(min=0))
    sign = torch.tensor([1.0, -1, 1, -1], dtype=torch.float64)
    assert_close(numbers["logit"], sign * 5 * (gain - gain.mean().clamp(min=0)))


def test_gaps_are_told_apart_by_verdict(tuned_policy, likes, four) -> None:
    _, numbers = run(Kto(), tuned_policy(0.4), likes, four)
    assert len(numbers["gap_liked"]) == len(numbers["gap_disliked"]) == 2
    only = replace(likes, liked=torch.ones(4, dtype=torch.bool))
    assert "gap_disliked" not in run(Kto(), tuned_policy(0.4), only, four)[1]
