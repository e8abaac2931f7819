"""Diffusion-KTO: pictures liked or disliked one by one, no pairs needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from training.alarms import Alarm
from training.contracts import LikeBatch, Policy, Report, Reward
from training.measures import wins
from training.methods._denoising import Denoising, Metrics, Side, by_level, detached, noised
from training.randomness import Rng

DRIFTED = Alarm(
    "gap_liked", 0.0,
    "The liked pictures become less likely than the base made them: pictures will wash out. Lower the learning rate, "
    "raise beta, or give more liked pictures.", rising=True,
)  # fmt: skip


class Kto(Denoising):
    """Diffusion-KTO (arXiv:2404.04465): the utility of each picture's own gain over the mean gain.

    L = weight (1 - sigmoid(±β (g - z))), g = e_ref - e_θ, z the batch's mean of g, not below 0 and held constant.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"likes"})
    alarms: ClassVar[tuple[Alarm, ...]] = (DRIFTED,)

    beta: float = Field(default=1000.0, gt=0, le=1e6, description="Steepness of the utility; 1000 as published.")
    liked_weight: float = Field(default=1.0, ge=0, le=1000, description="What a liked picture counts.")
    disliked_weight: float = Field(default=1.0, ge=0, le=1000, description="What a disliked picture counts.")
    sft_weight: float = Field(default=0.0, ge=0, le=1e4, description="Weight of plain learning from liked pictures.")

    def losses(self, policy: Policy, reward: Reward, batch: LikeBatch, rng: Rng) -> Iterator[Report]:
        """One report. z is the mean of a micro-batch, so these should hold several pictures."""
        drawn = self.draw(policy, rng)
        view = noised(batch.latents, rng.normal("noise", policy.latent_shape), drawn.level)
        yield from self.two_phase(
            policy, batch.conditioning, drawn, [view], lambda seen: self.objective(seen, batch, drawn.sigma)
        )

    def objective(self, seen: Sequence[Side], batch: LikeBatch, sigma: Tensor) -> tuple[Tensor, Metrics]:
        """The batch's loss, and what to log."""
        side = seen[0]
        gain = -side.gap
        baseline = gain.detach().mean().clamp(min=0)
        sign = torch.where(batch.liked, 1.0, -1.0)
        logits = sign * self.beta * (gain - baseline)
        counts = batch.weights * torch.where(batch.liked, self.liked_weight, self.disliked_weight)
        loss = (counts * (1 - torch.sigmoid(logits))).mean()
        loss = loss + self.sft_weight * (batch.weights * batch.liked * side.error).mean()
        return loss, self._metrics(detached(seen)[0], logits.detach(), batch, baseline, sigma)

    def _metrics(self, side: Side, logits: Tensor, batch: LikeBatch, baseline: Tensor, sigma: Tensor) -> Metrics:
        watched = {"accuracy": wins(logits), "logit": logits}
        shown = by_level(sigma, watched) | watched | {"baseline": baseline, "error": side.error, "sigma": sigma}
        for name, group in (("gap_liked", batch.liked), ("gap_disliked", ~batch.liked)):
            places = [place for place, belongs in enumerate(group.tolist()) if belongs]
            if places:
                shown[name] = side.gap[places]
        return shown
