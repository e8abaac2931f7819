"""KTO on single judgements."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from training.methods._denoising import noised
from training.methods.kto import Kto

from .conftest import error_and_gap, run, seen, side


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


@pytest.mark.parametrize(
    ("gains", "right"), [((0.3, 0.1, -0.1, 0.2), (1, 1, 0, 0)), ((-0.3, 0.1, -0.1, -0.2), (0, 0, 0, 1))]
)
def test_loss_and_slope_are_the_papers(likes, gains: tuple[float, ...], right: tuple[int, ...]) -> None:
    """The mean of w λ (1 - sigmoid(±β (g - z))) and the anchor's w e of liked ones; z is max(0, mean g), held still."""
    gain, weights, liked = torch.tensor([gains, (1, 2, 0.5, 3), (1, 0, 1, 0)], dtype=torch.float64)
    z, steepness = max(0.0, gain.mean().item()), 5 * (2 * liked - 1)
    left = (1 - torch.tanh(steepness * (gain - z) / 2)) / 2  # 1 - sigmoid
    counts, anchor = weights * torch.tensor([2, 0.5, 2, 0.5]), 0.3 * weights * liked

    method = Kto(beta=5, liked_weight=2, disliked_weight=0.5, sft_weight=0.3)
    error, sigma = (1 - gain).requires_grad_(), torch.full((4,), 0.5)
    sides = [side(error=error, reference=torch.ones(4))]
    loss, numbers = method.objective(sides, replace(likes, weights=weights), sigma)
    assert_close(loss, (counts * left + anchor * (1 - gain)).mean())
    assert_close(torch.autograd.grad(loss, error)[0], (counts * steepness * left * (1 - left) + anchor) / 4)
    assert numbers["baseline"].item() == pytest.approx(z)
    assert tuple(numbers["accuracy"].tolist()) == right


def test_gaps_are_told_apart_by_verdict(tuned_policy, likes, four) -> None:
    policy = tuned_policy(0.4)
    _, numbers = run(Kto(), policy, likes, four)
    _, gap = error_and_gap(policy, likes.latents, four.normal("noise", policy.latent_shape), numbers["sigma"])
    assert_close(numbers["gap_liked"], gap[likes.liked], rtol=1e-5, atol=1e-7)
    assert_close(numbers["gap_disliked"], gap[~likes.liked], rtol=1e-5, atol=1e-7)
    only = replace(likes, liked=torch.ones(4, dtype=torch.bool))
    assert "gap_disliked" not in run(Kto(), tuned_policy(0.4), only, four)[1]
