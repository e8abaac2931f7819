"""AlignProp: the reward's gradient through the end of the sampler, cut at a random step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field

from training.contracts import Policy, PromptBatch, Report, Reward
from training.methods._trajectory import TrajectoryReward, last_steps, sweep
from training.randomness import SHARED, Rng


class AlignProp(TrajectoryReward):
    """AlignProp (arXiv:2310.03739): DRaFT whose number of steps is drawn anew for each update.

    Steps before the cut b carry no gradient, those from b on do, chained. The published script walks DDIM with eta = 1;
    here the sampler is deterministic. Its aesthetic loss |r - 10| is `margin: 10`, its HPS loss 1 - r no margin.
    """

    rollout_steps: int = Field(default=50, ge=2, le=1000, description="Sampling steps from noise to image.")
    cut: Literal["normal", "uniform"] = Field(
        default="normal", description="How the first step with gradient is drawn: mostly late, or any step alike."
    )
    cut_mean: float = Field(default=0.84, ge=0, le=1, description="Mean of the normal cut, as a share of the rollout.")
    cut_spread: float = Field(default=0.1, gt=0, le=1, description="Its standard deviation, likewise.")
    loss_scale: float = Field(
        default=0.01, gt=0, description="Weight of the reward loss (0.01 in the published script)."
    )

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Report]:
        """One report per step from the cut on."""
        path = self.walk(policy, batch, rng)
        verdict = self.judge(policy, reward, batch, rng, path.picture)
        count = path.length - self.draw_cut(rng)
        yield from sweep(path, verdict, last_steps(path, count))

    def draw_cut(self, rng: Rng) -> int:
        """b, one for all samples of an update: uniform on {0, …, T - 1}, or int(N(42, 5)) of 50 within 1 ≤ b < T."""
        one, size = Rng(rng.seed, rng.update, (SHARED,)), self.rollout_steps
        if self.cut == "uniform":
            return int(one.integer("cut", 0, size - 1))
        mean, spread = self.cut_mean * size, self.cut_spread * size
        ends = torch.special.ndtr((torch.tensor([1.0, size], dtype=torch.float64) - mean) / spread)
        share = ends[0] + one.uniform("cut")[0].double() * (ends[1] - ends[0])  # the paper redraws what falls outside
        return int((mean + spread * torch.special.ndtri(share)).clamp(1, size - 1))
