"""DanceGRPO: what of the family it is."""

from __future__ import annotations

import torch

from training.methods.dance_grpo import DanceGrpo


def test_the_defaults_are_the_published_constants() -> None:
    """Source: the released FLUX configuration; 60 % of 15 steps are 9."""
    method = DanceGrpo()
    assert (method.dynamics, method.noise_level, method.rollout_steps) == ("dance_sde", 0.3, 16)
    assert (method.window, method.trained_per_sample(method.rollout_steps)) == ("fraction", 9)
    assert (method.group_size, method.guidance_scale, method.advantage_scale) == (12, 3.5, "group")
    assert (method.clip_range, method.advantage_limit, method.kl_weight) == (1e-4, 5.0, 0.0)
    assert method.shared_noise


def test_the_video_settings_train_eight_of_a_group() -> None:
    method = DanceGrpo(noise_level=0.25, group_size=24, best_of=8)
    trained = torch.cat([places for calls in method.passes(torch.arange(24.0)) for places in calls])
    assert sorted(trained.tolist()) == [0, 1, 2, 3, 20, 21, 22, 23]
