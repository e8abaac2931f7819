"""What DPO-C&M and SDPO share: how much a pair still has to do with what the model itself would paint."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from training.contracts import PairBatch
from training.methods._denoising import Drawn, Metrics, Side, by_level
from training.methods._preference import Preference, Sides


class StepWeighted(Preference):
    """Weights w = p_θ(x_s | x_t) / q(x_s | x_t, x_0) of one sampler step, the geometric mean over all dimensions.

    In closed form w = exp(-(SNR_s - SNR_t) |x_0 - x̂_0|² / 2), the noise of x_s integrated out: no further network call.
    The joint ratio of all dimensions would be 0 for any real picture. Where w is small, at little noise, the step says
    nothing about the model; those pairs are masked.
    """

    weight_steps: int = Field(default=50, ge=1, le=1000, description="Sampler steps that a weighed step is one of.")
    weight_denominator: Literal["forward", "reference"] = Field(
        default="forward", description="Against the forward process, or the base, for pairs that the base painted."
    )
    weight_ratio: Literal["p/q", "q/p"] = Field(
        default="p/q", description="The weight itself, or its inverse; which one is published is not certain."
    )
    weight_clip: float = Field(default=0.2, ge=0, le=1, description="Weights are kept within 1 ± this.")
    mask_below: float = Field(default=0.9, ge=0, le=1, description="Pairs of a smaller weight are left out; 0: none.")
    normalise: Literal["unmasked", "batch"] = Field(default="unmasked", description="What the sum is divided by.")

    def weight(self, side: Side, drawn: Drawn) -> Tensor:
        """w of each sample, [B], detached."""
        gain = drawn.cleaner(self.weight_steps).rho.pow(-2) - drawn.level.rho.pow(-2)  # SNR_s - SNR_t
        error = side.x0_error - (side.x0_reference if self.weight_denominator == "reference" else 0)
        return torch.where(
            gain.isinf(), 0.0, torch.exp(-gain * error / 2)
        )  # the last step is certain: nothing to weigh

    def clipped(self, weight: Tensor) -> Tensor:
        """w̃, [B]."""
        return self._powered(weight).clamp(1 - self.weight_clip, 1 + self.weight_clip)

    def _powered(self, weight: Tensor) -> Tensor:
        return weight if self.weight_ratio == "p/q" else 1 / weight

    def smaller(self, sides: Sides) -> Tensor:
        """The smaller weight of a pair, [B]."""
        return torch.minimum(self.weight(sides.chosen, sides.drawn), self.weight(sides.rejected, sides.drawn))

    def shares(self, sides: Sides, batch: PairBatch) -> Tensor:
        """Nothing for a masked pair; all masked gives a loss of 0."""
        kept = (self.smaller(sides) >= self.mask_below).to(batch.weights.dtype)
        return kept * batch.weights / (kept.sum().clamp(min=1) if self.normalise == "unmasked" else len(kept))

    def metrics(self, sides: Sides, batch: PairBatch) -> Metrics:
        """And those of the weights. `effective_share` is (Σw̃)² / (n Σw̃²) over the pairs that are not masked."""
        sizes = {name: self.weight(getattr(sides, name), sides.drawn) for name in ("chosen", "rejected")}
        smaller = self.smaller(sides)
        powered, clipped = self._powered(smaller), self.clipped(smaller)
        kept = (smaller >= self.mask_below).to(smaller.dtype)
        watched = {f"weight_{name}": weight for name, weight in sizes.items()}
        watched["masked"] = (smaller < self.mask_below).float()
        shown = super().metrics(sides, batch) | by_level(sides.drawn.sigma, watched) | watched
        shown |= {"clipped_low": (powered < clipped).float(), "clipped_high": (powered > clipped).float()}
        return shown | {"weight_smallest": smaller.min(), "effective_share": effective_share(clipped, kept)}


def effective_share(weights: Tensor, kept: Tensor) -> Tensor:
    """(Σw)² / (n Σw²) over the n samples with kept = 1: 1 for equal weights, 1/n where one has all, 0 where none is."""
    counted = weights * kept
    tiny = torch.finfo(weights.dtype).tiny
    return counted.sum().square() / (kept.sum() * counted.square().sum()).clamp(min=tiny)
