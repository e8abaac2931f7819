"""MixGRPO: what of the family it is."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from training.lockstep import alone
from training.methods.mix_grpo import MixGrpo
from training.randomness import Rng


def test_the_defaults_are_the_published_constants() -> None:
    """Source: the released FLUX configuration."""
    method = MixGrpo()
    assert (method.dynamics, method.noise_level, method.rollout_steps) == ("flow_sde", 0.7, 25)
    assert (method.window, method.window_size, method.window_stride, method.window_every) == ("sliding", 4, 1, 25)
    assert (method.group_size, method.guidance_scale, method.advantage_scale) == (12, 3.5, "group")
    assert (method.clip_range, method.advantage_limit, method.kl_weight) == (1e-4, 5.0, 0.0)


def test_outside_its_window_the_rollout_is_the_plain_sampler(bending_policy, linear_reward, batch, rng: Rng) -> None:
    """A window at the end: up to there all members of a group with one starting noise are one picture."""
    policy = bending_policy()
    settings = {"preference": "plain", "rollout_steps": 6, "window_size": 1, "window_every": 1, "shared_noise": True}
    last = Rng(rng.seed, 4, rng.indices)
    event = next(alone(MixGrpo(**settings).losses(policy, linear_reward(), batch, last)))
    assert (event.metrics["reward_std"] > 0).all()
    (call,) = policy.calls
    assert_close(call.level.sigma, torch.full_like(call.level.sigma, 1 / 3))
    first = call.x_t[:3]  # the members of the first prompt in the first optimizer step
    assert torch.equal(first, first[:1].expand_as(first))
