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
    shift: float | None = None,
) -> Tensor:
    """Clean latents [B, ...] from noise [B, ...] in `steps` network calls; no shift: the family's own levels."""
    return trajectory(policy, noise, conditioning, sampler_grid(policy, steps, shift), guidance_scale)[-1]


def sampler_grid(policy: Policy, steps: int, shift: float | None) -> Tensor:
    """[steps + 1] levels from noise to image: even ones under `shift`, or the family's own."""
    return policy.schedule.grid(steps) if shift is None else sigma_grid(steps, shift)
