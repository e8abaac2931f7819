"""Plain backpropagation through an unrolled sampler, to hold the methods against that never build its graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from training import interpolants
from training.contracts import Report
from training.randomness import key
from training.schedules import DdpmSchedule, FlowSchedule, Level, Schedule

STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
PARAMETRISATIONS = ("velocity", "epsilon", "v_prediction", "sample")


class Precise:
    """A schedule whose levels fulfil their law in float64; float32 leaves 3e-8 between alpha and 1 - sigma."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.grid = schedule, schedule.grid

    def level(self, sigma: Tensor) -> Level:
        level = self.schedule.level(sigma)
        noise = level.sigma.double()
        flow = isinstance(self.schedule, FlowSchedule)
        return Level(1 - noise if flow else (1 - noise**2).sqrt(), noise, level.timestep)


def schedule_of(parametrisation: str) -> Precise:
    """Flow matching for velocities, Stable Diffusion's levels otherwise."""
    flow = parametrisation == "velocity"
    return Precise(FlowSchedule() if flow else DdpmSchedule(DDPMScheduler(**STABLE_DIFFUSION).alphas_cumprod))


class CurvedReward:
    """<sin(picture), direction of the text>: its gradient depends on the picture. float64."""

    def direction(self, text: str) -> Tensor:
        generator = torch.Generator().manual_seed(key("direction", text))
        return torch.randn(3, 2, 2, generator=generator, dtype=torch.float64)

    def target(self, texts: Sequence[Sequence[str]]) -> Tensor:
        return torch.stack([torch.stack([self.direction(text) for text in row]) for row in texts])

    def score(self, images: Tensor, target: Tensor) -> Tensor:
        return torch.einsum("bchw,btchw->bt", images.sin(), target)


def levels_of(policy: Any, sigmas: Tensor, size: int) -> list[Any]:
    return [policy.schedule.level(sigma.expand(size)) for sigma in sigmas]


def unrolled(policy: Any, noise: Tensor, sigmas: Tensor, first: int, conditioning: Any = None) -> Tensor:
    """The sampler's picture with the graph of every step from `first` on, all at once."""
    levels = levels_of(policy, sigmas, len(noise))
    x = noise
    for number, (here, there) in enumerate(pairwise(levels)):
        with torch.set_grad_enabled(number >= first):
            estimate = policy.predict(x, here, conditioning or {})
            x = interpolants.step(estimate, there.alpha, there.sigma)
    return x


def jacobian_product(policy: Any, x_t: Tensor, level: Any, direction: Tensor) -> tuple[Tensor, Tensor]:
    """(∂v/∂θ)ᵀ direction and (∂v/∂x)ᵀ direction of a network that is one tensor `output`."""
    leaf = x_t.detach().requires_grad_()
    velocity = interpolants.to_velocity(policy.predict(leaf, level, {}), level.alpha, level.sigma)
    return torch.autograd.grad((direction * velocity).sum(), (policy.output, leaf))


def descend(policy: Any, reports: Iterable[Report], factor: float = 1.0) -> tuple[Tensor, list[Report]]:
    """The gradient of all reports, each gone backward as a trainer does, with its factor on the loss."""
    policy.output.grad = None
    seen = []
    for report in reports:
        (factor * report.loss).backward()
        seen.append(report)
    gradient = policy.output.grad.clone()
    policy.output.grad = None
    return gradient, seen
