"""MaPO: pairs without a reference model, by the odds of either picture."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from training.alarms import Alarm
from training.contracts import PairBatch
from training.methods._denoising import Metrics
from training.methods._preference import SATURATED, Preference, Sides


class Mapo(Preference):
    """Margin-aware Preference Optimization (arXiv:2406.06424): learn the chosen picture and widen its odds; no base.

    L = e(w) - β log sigmoid(T [f(e(w)) - f(e(l))]), f(m) = κ m / (exp(κ m) - 1).
    """

    alarms: ClassVar[tuple[Alarm, ...]] = (SATURATED,)  # nothing is measured against the base
    with_reference: ClassVar[bool] = False

    beta: float = Field(default=0.1, gt=0, le=1e6, description="Weight of the odds beside plain learning.")
    curvature: float = Field(default=0.5, gt=0, le=100, description="κ of the odds.")
    temperature: float = Field(default=1000.0, gt=0, le=1e6, description="T, which the odds are multiplied by.")

    def objective(self, sides: Sides, batch: PairBatch) -> tuple[Tensor, Metrics]:
        """The odds' loss beside the plain one."""
        loss, metrics = super().objective(sides, batch)
        return loss + (batch.weights * sides.chosen.error).mean(), metrics

    def logits(self, sides: Sides, batch: PairBatch) -> Tensor:
        """[B]."""
        return self.temperature * (self._likelihood(sides.chosen.error) - self._likelihood(sides.rejected.error))

    def link(self, logits: Tensor) -> Tensor:
        """-β log sigmoid(s), [B]."""
        return self.beta * softplus(-logits)

    def _likelihood(self, error: Tensor) -> Tensor:
        bent = self.curvature * error.clamp(min=torch.finfo(error.dtype).tiny)
        return bent / torch.expm1(bent)
