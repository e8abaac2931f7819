"""Walking from noise to image with the deterministic sampler, and back. No gradient here."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from training import interpolants
from training.contracts import Conditioning, Policy
from training.schedules import Level, sigma_grid


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


@torch.no_grad()
def invert(
    policy: Policy,
    x0: Tensor,
    conditioning: Conditioning,
    sigma: Tensor,
    grid: Tensor,
    *,
    renoise: bool = False,
    eta: float = 0.0,
    fresh: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """Walk from image to noise: x_t [B, ...] at exactly `sigma` [B], over the levels of `grid` below it, no guidance.

    renoise: take the mean of the noise seen here and of that seen where the step leads (one ReNoise correction,
    arXiv:2403.14602). eta: add fresh(step) [B, ...] as a DDIM sampler would on the way down.
    """
    x, points = x0, grid[:-1].flip(0).to(sigma.device)[:, None]
    rising = torch.cat([torch.zeros_like(sigma)[None], points.minimum(sigma), sigma[None]])  # [steps + 2, B]
    for number, (low, high) in enumerate(pairwise(rising)):
        if (low >= sigma).all():
            break
        here, there = policy.schedule.level(low), policy.schedule.level(high)
        estimate = policy.predict(x, here, conditioning)
        if renoise:
            beyond = policy.predict(interpolants.step(estimate, there.alpha, there.sigma), there, conditioning)
            noise = (estimate.noise + beyond.noise) / 2
            estimate = interpolants.Estimate(interpolants.recover_x0(x, noise, here.alpha, here.sigma), noise)
        walked = interpolants.step(estimate, there.alpha, there.sigma)
        if eta and fresh is not None:
            walked = walked + interpolants.expand(eta * jump_deviation(here, there), walked) * fresh(number)
        x = torch.where(interpolants.expand(high > low, x), walked, x)
    return x


def jump_deviation(cleaner: Level, noisier: Level) -> Tensor:
    """Standard deviation [B] that DDIM (arXiv:2010.02502, eq. 16) at eta = 1 gives the step between the two levels."""
    kept = (noisier.alpha / cleaner.alpha).square().clamp(max=1)
    return cleaner.sigma / noisier.sigma.clamp(min=torch.finfo(noisier.sigma.dtype).tiny) * (1 - kept).sqrt()
