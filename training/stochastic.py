"""Walking from noise to image with noise in the steps: each is a Gaussian whose density can be asked for afterwards.

Every family is read on the flow axis. With x = (alpha + sigma) y, y obeys the flow law at s = sigma / (alpha + sigma),
so one formula in s serves flow matching and the DDPM families alike. Notation: s → s' is one step, d = s - s'.
Densities are means over a sample's D elements, as in all released code; a true log-ratio is D times as large.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from training.contracts import Conditioning, Policy
from training.interpolants import Estimate, expand, interpolate
from training.randomness import Rng
from training.schedules import Level

Dynamics = Literal["cps", "dance_sde", "ddim", "flow_sde"]


class Transition(NamedTuple):
    """The next state is drawn from N(mean, std²): mean [B, ...], std [B]; std 0 is the deterministic step."""

    mean: Tensor
    std: Tensor


def flow_sigma(level: Level) -> Tensor:
    """A level's place on the flow axis, [B]."""
    return level.sigma / (level.alpha + level.sigma)


def flow_sde_std(s: Tensor, following: Tensor, noise_level: Tensor) -> Tensor:
    """g √d with g = a √(s / (1 - s)) (Flow-GRPO, arXiv:2505.05470); at s = 1 the denominator takes s', as released."""
    rest = 1 - torch.where(s < 1, s, following)
    return noise_level * (s / rest * (s - following)).sqrt()


def dance_sde_std(s: Tensor, following: Tensor, noise_level: Tensor) -> Tensor:
    """η √d (DanceGRPO, arXiv:2505.07818)."""
    return noise_level * (s - following).sqrt()


def cps_std(s: Tensor, following: Tensor, noise_level: Tensor) -> Tensor:
    """s' sin(a π / 2) (Coefficients-Preserving Sampling, arXiv:2509.05952)."""
    return following * torch.sin(noise_level * (math.pi / 2))


def ddim_std(s: Tensor, following: Tensor, noise_level: Tensor) -> Tensor:
    """η (s' / s) √(s² - ((1 - s) / (1 - s'))² s'²): DDIM's η, eq. 16 of arXiv:2010.02502, for any interpolant."""
    forward = s.square() - ((1 - s) / (1 - following) * following).square()
    return noise_level * following / s * forward.clamp(min=0).sqrt()


STDS: dict[Dynamics, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "cps": cps_std, "dance_sde": dance_sde_std, "ddim": ddim_std, "flow_sde": flow_sde_std,
}  # fmt: skip


def transition(estimate: Estimate, here: Level, there: Level, dynamics: Dynamics, noise_level: Tensor) -> Transition:
    """One step from `here` to `there`; noise_level: [B] or scalar, 0 gives `interpolants.step` bit for bit.

    The two SDEs keep the marginals: mean = ODE step - ½ std² noise / s. The other two keep the noise power of a step:
    mean = alpha' x0 + √(sigma'² - std²) noise.
    """
    scale, s = there.alpha + there.sigma, flow_sigma(here)
    std = scale * STDS[dynamics](s, flow_sigma(there), noise_level)
    if dynamics in ("dance_sde", "flow_sde"):
        kept = there.sigma - 0.5 * std.square() / (s * scale)
    else:
        kept = (there.sigma.square() - std.square()).clamp(min=0).sqrt()
    return Transition(interpolate(estimate.x0, estimate.noise, there.alpha, kept), std)


def log_ratio(state: Tensor, now: Transition, old: Transition) -> Tensor:
    """log N(state; now) - log N(state; old) of two transitions with one std > 0, mean over the elements, [B].

    As (now - old)(2 state - now - old) / (2 std²): exactly 0 for equal means, where a difference of two log-densities
    would leave float32's rounding, which is not small beside a clip range of 1e-5.
    """
    product = (now.mean - old.mean) * (2 * state - now.mean - old.mean)
    return product.flatten(1).mean(dim=1) / (2 * now.std.square())


def kl(first: Transition, second: Transition) -> Tensor:
    """Kullback-Leibler divergence of two transitions with one std > 0, mean over the elements, [B]."""
    return (first.mean - second.mean).square().flatten(1).mean(dim=1) / (2 * first.std.square())


@dataclass(frozen=True)
class Walk:
    """What one walk left behind: `states` at the n + 1 levels, and the n transitions that they were drawn from."""

    states: Sequence[Tensor]
    steps: Sequence[Transition]


@torch.no_grad()
def stochastic_trajectory(
    policy: Policy, noise: Tensor, conditioning: Conditioning, sigmas: Tensor, rng: Rng, *,
    dynamics: Dynamics, noise_levels: Tensor, guidance_scale: float = 1.0,
) -> Walk:  # fmt: skip
    """From noise [B, ...] along the levels `sigmas` [n + 1]; noise_levels: [B, n], 0 where a step is deterministic.

    The adapter stays beside the weights (not `folded`): the gradient's pass must meet the very same numbers.
    """
    states, steps = [noise], []
    for number, (sigma, following) in enumerate(pairwise(sigmas)):
        x = states[-1]
        here = policy.schedule.level(sigma.expand(len(x)).to(x.device))
        there = policy.schedule.level(following.expand(len(x)).to(x.device))
        estimate = policy.predict(x, here, conditioning, guidance_scale)
        step = transition(estimate, here, there, dynamics, noise_levels[:, number])
        states.append(step.mean + expand(step.std, x) * rng.normal(f"step.{number}", x.shape[1:]))
        steps.append(step)
    return Walk(states, steps)
