"""DRTune: several steps trained at the price of one, because no gradient passes through the network's input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from training.contracts import Policy, PromptBatch, Report, Reward
from training.methods._direct import recover_error
from training.methods._trajectory import Active, Path, TrajectoryReward, sweep
from training.randomness import Rng


class Drtune(TrajectoryReward):
    """DRTune (arXiv:2405.00760): stop-gradient on the input, K evenly spaced steps, the reward of an early x0 estimate.

        for i = 0 … m:   v = v_θ(sg x, s_i), without gradient unless i ∈ A;
                         x ← x + (s_{i+1} - s_i) v for i < m,   x0 = x - s_m v at m

    What is held constant from step to step is the velocity noise - x0, on every family.
    """

    k: int = Field(default=3, ge=1, le=1000, description="Steps that carry gradient.")
    early_stop: float = Field(
        default=0.4, gt=0, le=1, description="Share of the rollout, counted from its end, at which the reward may look."
    )
    spread_over: Literal["executed", "rollout"] = Field(
        default="executed",
        description="Where the trained steps lie: up to the stop, or over all steps as in the paper, which loses late "
        "ones to an early stop.",
    )
    margin: float | None = Field(default=0.55, description="relu(margin - reward), on HPSv2.1's scale; empty: never.")

    @model_validator(mode="after")
    def _fitting(self) -> Drtune:
        if self.k > (self.earliest_stop() + 1 if self.spread_over == "executed" else self.rollout_steps):
            raise ValueError("k steps must fit before the earliest stop, (1 - early_stop) of the rollout")
        return self

    def earliest_stop(self) -> int:
        """The first step that may be m: the last 10 of 25 for 0.4."""
        return self.rollout_steps - max(1, round(self.early_stop * self.rollout_steps))

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Report]:
        """One report per trained step."""
        path = self.walk(policy, batch, rng)
        stop = rng.integer("stop", self.earliest_stop(), path.length - 1)
        x0 = path.leap(stop[None], -path.sigmas[stop][None])
        verdict = self.judge(policy, reward, batch, rng, x0)
        metrics = {"stop_sigma": path.sigmas[stop], "recover_error": recover_error(x0, path.picture)}
        yield from sweep(path, verdict, self.draw_active(path, stop, rng.uniform("first")), metrics)

    def draw_active(self, path: Path, stop: Tensor, share: Tensor) -> Active:
        """A = {first + r ⌊n / K⌋}, r < K, at a random offset (share [B]); weights -s_m at m, zero beyond."""
        size = stop + 1 if self.spread_over == "executed" else torch.full_like(stop, path.length)
        spacing = size // self.k
        first = (share * (size - (self.k - 1) * spacing)).long()
        steps = first + spacing * torch.arange(self.k, device=stop.device)[:, None]
        early, last = path.widths[steps] * (steps < stop), -path.sigmas[stop] * (steps == stop)
        return Active(steps, early + last)
