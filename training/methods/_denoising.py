"""What methods that learn from finished pictures share: a noise level, one network call there, its squared error.

All errors are means over every dimension but the first, so that neither resolution nor length changes their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from training import interpolants
from training.contracts import Conditioning, Policy, Report
from training.interpolants import Estimate
from training.randomness import Rng
from training.schedules import Level, Schedule

LEVELS = 1000  # of the family's own grid, which levels are drawn from
BUCKETS = 10  # equal parts of the sigma axis that numbers are also logged by


class View(NamedTuple):
    """A picture at a noise level, x_t [B, ...], and the clean latents and the noise that it is made of.

    focus [B, 1, …, h, w]: what each place counts in its error, of mean 1; None: alike.
    """

    x_t: Tensor
    truth: Estimate
    focus: Tensor | None = None

    def focused(self, miss: Tensor) -> Tensor:
        """A miss [B, ...] whose mean square is the focused error."""
        return miss if self.focus is None else miss * self.focus.sqrt()


@dataclass(frozen=True)
class Drawn:
    """One noise level per sample: entry `place` [B] of the family's falling grid [LEVELS + 1]."""

    schedule: Schedule
    grid: Tensor
    place: Tensor

    @property
    def sigma(self) -> Tensor:
        """On the flow axis, [B]."""
        return self.grid[self.place]

    @property
    def level(self) -> Level:
        """Where the network is asked."""
        return self.schedule.level(self.sigma)

    def cleaner(self, steps: int) -> Level:
        """The next level of a sampler that walks the grid in `steps` steps."""
        return self.schedule.level(self.grid[(self.place + LEVELS // steps).clamp(max=LEVELS)])


@dataclass(frozen=True)
class Side:
    """What the network and the frozen base say of one picture each, float32; an objective may follow the first two.

    error, reference: mean squared error of the policy and of the base, [B]; drift: of one against the other, [B];
    x0_error, x0_reference: the errors of the clean estimate, [B]; misses [B, ...]: estimate minus truth, focused.
    """

    error: Tensor
    drift: Tensor
    reference: Tensor
    x0_error: Tensor
    x0_reference: Tensor
    miss: Tensor
    reference_miss: Tensor

    @property
    def gap(self) -> Tensor:
        """Error above the base's, Δ [B]: below 0 where the picture has become more likely."""
        return self.error - self.reference


Metrics = dict[str, Tensor]
Objective = Callable[[Sequence[Side]], tuple[Tensor, Metrics]]


class Denoising(BaseModel):
    """Settings and steps common to methods that ask the network about noised pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss_space: Literal["native", "noise", "x0"] = Field(
        default="native", description="What errors are of: what the network itself predicts, the noise, the picture."
    )
    level_density: Literal["sampler", "logit_normal"] = Field(
        default="sampler", description="How levels are drawn from the base's own: all alike, or the middle more often."
    )
    sigma_low: float = Field(default=0.0, ge=0, lt=1, description="Cleanest noise level trained.")
    sigma_high: float = Field(default=1.0, gt=0, le=1, description="Noisiest noise level trained.")
    guidance_scale: float = Field(
        default=1.0, ge=0, le=50, description="Guidance of the calls; above 1 only for bases with embedded guidance."
    )

    @model_validator(mode="after")
    def _levels_ordered(self) -> Denoising:
        if self.sigma_low >= self.sigma_high:
            raise ValueError("sigma_low < sigma_high must hold")
        return self

    def draw(self, policy: Policy, rng: Rng) -> Drawn:
        """One level per sample."""
        grid = policy.schedule.grid(LEVELS).to(policy.device)
        first = (grid > self.sigma_high).sum()
        last = LEVELS - 1 - (grid[:-1] < self.sigma_low).sum()
        uniform = self.level_density == "sampler"
        share = rng.uniform("level") if uniform else torch.sigmoid(rng.normal("level", ()))
        return Drawn(policy.schedule, grid, (first + (share * (last - first + 1)).long()).clamp(max=LEVELS - 1))

    def miss(self, policy: Policy, view: View, level: Level, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
        """One network call at a view: the focused miss in loss space and of the clean picture, [B, ...] each."""
        estimate = policy.predict(view.x_t, level, conditioning, self.guidance_scale)
        wrong = Estimate(estimate.x0 - view.truth.x0, estimate.noise - view.truth.noise)
        own = {"noise": wrong.noise, "x0": wrong.x0}
        miss = own[self.loss_space] if self.loss_space in own else policy.as_output(wrong, level)
        return view.focused(miss), view.focused(wrong.x0)

    @torch.no_grad()
    def look(
        self, policy: Policy, conditioning: Conditioning, level: Level, views: Sequence[View], *, with_reference: bool
    ) -> list[Side]:
        """What the network and the frozen base say of every view; without the base, the network stands for it."""
        ours = [self.miss(policy, view, level, conditioning) for view in views]
        theirs = ours
        if with_reference:
            with policy.as_reference():
                theirs = [self.miss(policy, view, level, conditioning) for view in views]
        return [_side(*now, *before) for now, before in zip(ours, theirs, strict=True)]

    def two_phase(
        self, policy: Policy, conditioning: Conditioning, drawn: Drawn, views: Sequence[View], objective: Objective,
        *, with_reference: bool = True,
    ) -> Iterator[Report]:  # fmt: skip
        """The objective's exact gradient, one view's graph in memory at a time; one report per view.

        First every view is looked at without gradient, and the objective's slope by each error is taken; then each view
        is seen once more with gradient, its error times that slope being the loss. The chain rule makes the sum the
        gradient of the whole, so a pair fits where a single picture fits, for one more forward pass.
        """
        level = drawn.level
        seen = self.look(policy, conditioning, level, views, with_reference=with_reference)
        loss, metrics = objective(seen)
        leaves = [leaf for side in seen for leaf in (side.error, side.drift)]
        slopes = torch.autograd.grad(loss, leaves, allow_unused=True)
        for number, (view, side) in enumerate(zip(views, seen, strict=True)):
            by_error, by_drift = slopes[2 * number : 2 * number + 2]
            miss, _ = self.miss(policy, view, level, conditioning)
            part = (torch.zeros_like(side.error) if by_error is None else by_error) * mean_square(miss)
            if by_drift is not None:
                part = part + by_drift * mean_square(miss - side.reference_miss)
            yield Report(part.sum(), {"loss": loss.detach(), **({} if number else metrics)})


def noised(x0: Tensor, noise: Tensor, level: Level) -> View:
    """The forward process: x0 with known noise mixed in."""
    return View(interpolants.interpolate(x0, noise, level.alpha, level.sigma), Estimate(x0, noise))


def mean_square(values: Tensor) -> Tensor:
    """Over all dimensions but the first, [B]."""
    return values.square().flatten(1).mean(dim=1)


def _side(miss: Tensor, x0_miss: Tensor, reference_miss: Tensor, x0_reference: Tensor) -> Side:
    error, drift = mean_square(miss).requires_grad_(), mean_square(miss - reference_miss).requires_grad_()
    return Side(
        error, drift, mean_square(reference_miss), mean_square(x0_miss), mean_square(x0_reference), miss, reference_miss
    )


def detached(sides: Sequence[Side]) -> list[Side]:
    """The same without gradient, for numbers to log."""
    return [replace(side, error=side.error.detach(), drift=side.drift.detach()) for side in sides]


def by_level(sigma: Tensor, values: Mapping[str, Tensor]) -> Metrics:
    """Each number [B] once more for every tenth of the sigma axis that a sample fell into: `accuracy.sigma_0.3`."""
    tenths = (sigma * BUCKETS).long().clamp(max=BUCKETS - 1).tolist()
    places = {tenth: [i for i, other in enumerate(tenths) if other == tenth] for tenth in sorted(set(tenths))}
    return {
        f"{name}.sigma_{tenth / BUCKETS:.1f}": value[here]
        for tenth, here in places.items()
        for name, value in values.items()
    }
