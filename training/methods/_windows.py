"""Which steps of a rollout are drawn with noise and which of them are trained: all, a share, or a window."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from training.randomness import Rng

DECAY, DECAYS_FROM = 0.1, 13  # of the pace exp_decay, for rollouts of 25 steps

Window = Annotated[
    Literal["all", "fraction", "random", "sliding"],
    Field(
        description="all: every step; fraction: noise everywhere, each sample trains a random share of the steps; "
        "random: noise and training in one short window per prompt; sliding: the same, moving with the updates."
    ),
]
WindowSize = Annotated[int, Field(ge=1, le=1000, description="Steps in a random or sliding window.")]


class Windowed(BaseModel):
    """The last step is never among them: it has no noise to learn from, and pictures end without residual noise."""

    window: Window = "all"
    trained_share: float = Field(
        default=0.6, gt=0, le=1, description="Share of the steps that a sample trains; of window: fraction."
    )
    window_size: WindowSize = 3
    window_reach: float = Field(
        default=0.5, gt=0, le=1, description="A random window lies within this first (noisy) share of the steps."
    )
    window_stride: int = Field(default=1, ge=1, le=1000, description="Steps by which a sliding window moves.")
    window_every: int = Field(default=25, ge=1, le=1_000_000, description="Updates until a sliding window moves.")
    window_pace: Literal["even", "decay", "exp_decay"] = Field(
        default="even",
        description="Updates that a sliding window stays: the same everywhere; falling evenly to window_least at the "
        "last place; or by exp(-0.1) for each place beyond the 13th step.",
    )
    window_least: int = Field(default=1, ge=1, le=1_000_000, description="Updates at the last place; of pace: decay.")

    def trained_per_sample(self, steps: int) -> int:
        """How many of the steps a sample trains, the same for every sample."""
        most = steps - 1
        if self.window == "all":
            return most
        return max(1, int(self.trained_share * most)) if self.window == "fraction" else min(self.window_size, most)

    def choose(self, steps: int, rng: Rng, groups: Rng) -> tuple[Tensor, Tensor]:
        """rng: of the samples, groups: of their prompts → (trained steps [b, T] ascending, is noisy [b, steps])."""
        most, size, count = steps - 1, self.trained_per_sample(steps), len(rng.indices)
        noisy = torch.zeros(count, steps, dtype=torch.bool, device=rng.device)
        if self.window == "fraction":
            order = rng.uniform("steps", shape=(most,)).argsort(dim=1)
            trained = order[:, :size].sort(dim=1).values
        else:
            trained = self._first(steps, groups)[:, None] + torch.arange(size, device=rng.device)
        if self.window in ("all", "fraction"):
            noisy[:, :most] = True
        else:
            noisy.scatter_(1, trained, True)
        return trained, noisy

    def _first(self, steps: int, groups: Rng) -> Tensor:
        """Where each sample's window begins, [b]."""
        rightmost = steps - 1 - self.trained_per_sample(steps)
        if self.window == "random":
            within = int(self.window_reach * steps) - self.window_size
            return groups.integer("window", 0, max(0, min(within, rightmost)))
        return torch.full((len(groups.indices),), self._place(groups.update, rightmost + 1), device=groups.device)

    def _place(self, update: int, places: int) -> int:
        """Where a sliding window begins: stride by stride around the places, and at each for as long as its pace says.

        Source of the paces: arXiv:2507.21802, progressive with constant, linearly and exponentially falling intervals.
        """
        rounds = places // math.gcd(places, self.window_stride)
        cycle = [turn * self.window_stride % places for turn in range(rounds)]
        ends = list(accumulate(self._stay(place, places) for place in cycle))
        return cycle[bisect_right(ends, update % ends[-1])]

    def _stay(self, place: int, places: int) -> int:
        share = 1.0
        if self.window_pace == "decay" and places > 1:
            return round(self.window_every + (self.window_least - self.window_every) * place / (places - 1))
        if self.window_pace == "exp_decay":
            share = math.exp(-DECAY * max(0, place - DECAYS_FROM))
        return max(1, round(self.window_every * share))
