"""Walking from noise to image with the deterministic sampler. No gradient here."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from training import interpolants
from training.contracts import Conditioning, Policy
from training.schedules import sigma_grid


@torch.no_grad()
def trajectory(
    policy: Policy, noise: Tensor, conditioning: Conditioning, sigmas: Tensor, guidance_scale: float = 1.0
) -> list[Tensor]:
    """Every state x at the levels `sigmas` [n + 1], from noise [B, ...] on; n network calls."""
    x = noise
    states = [x]
    with policy.folded():
        for sigma, following in pairwise(sigmas):
            here = policy.schedule.level(sigma.expand(len(x)).to(x.device))
            there = policy.schedule.level(following.expand(len(x)).to(x.device))
            x = interpolants.step(policy.predict(x, here, conditioning, guidance_scale), there.alpha, there.sigma)
            states.append(x)
    return states


def sample(
    policy: Policy,
    noise: Tensor,
    conditioning: Conditioning,
    *,
    steps: int,
    guidance_scale: float = 1.0,
    shift: float = 1.0,
) -> Tensor:
    """Clean latents [B, ...] from noise [B, ...] in `steps` network calls."""
    return trajectory(policy, noise, conditioning, sigma_grid(steps, shift), guidance_scale)[-1]
