"""Plain fine-tuning."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.testing import assert_close

from training.methods.sft import Sft

from .conftest import error_and_gap, run


def test_the_loss_is_the_velocitys_mean_square_by_hand(tuned_policy, photos, four) -> None:
    policy, method = tuned_policy(0.5), Sft()
    _, numbers = run(method, policy, photos, four)
    expected, _ = error_and_gap(policy, photos.latents, four.normal("noise", policy.latent_shape), numbers["sigma"])
    assert_close(numbers["error"], expected, rtol=1e-5, atol=1e-6)


def test_weights_scale_what_each_photo_teaches(tuned_policy, photos, four) -> None:
    once, _ = run(Sft(), tuned_policy(0.5), photos, four)
    twice, _ = run(Sft(), tuned_policy(0.5), replace(photos, weights=2 * photos.weights), four)
    assert_close(twice, 2 * once)


def test_a_network_that_knows_the_velocity_learns_nothing(linear_policy, photos, four) -> None:
    """One photo, one noise: the constant velocity noise - x0 is exact."""
    one = replace(photos, latents=photos.latents[:1], weights=photos.weights[:1], conditioning={})
    rng = replace(four, indices=(0,))
    velocity = rng.normal("noise", (3, 2, 2))[0] - one.latents[0]
    gradient, numbers = run(Sft(), linear_policy(velocity), one, rng)
    assert gradient.abs().max() < 1e-6
    assert torch.all(numbers["error"] < 1e-9)
