"""DSPO: regress the score of the chosen picture, moved away from the base as far as the pair is not yet told apart."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from training.contracts import PairBatch
from training.methods._denoising import Metrics
from training.methods._preference import Preference, Sides


class Dspo(Preference):
    """Direct Score Preference Optimization (ICLR 2025): plain learning of a target beyond the chosen picture.

    |(ε_θ - ε) - c (ε_θ - ε_ref)|² on the chosen side, c = pull (1 - sigmoid(s)). Written out it needs three numbers
    only: (1 - c) e_θ + c e_ref - c (1 - c) |ε_θ - ε_ref|².
    """

    pull: float = Field(
        default=0.001, ge=0, le=1, description="How far beyond the chosen picture: 0.001 as published, hardly any."
    )

    def objective(self, sides: Sides, batch: PairBatch) -> tuple[Tensor, Metrics]:
        """The plug-ins act on the logit that sets c."""
        pair, held = self.guarded(sides)
        undecided = torch.sigmoid(self.logit_margin + batch.margins - self.logits(pair, batch))
        c = self.pull * ((1 - self.label_smoothing) * undecided + self.label_smoothing * (1 - undecided))
        chosen = pair.chosen
        each = (1 - c) * chosen.error + c * chosen.reference - c * (1 - c) * chosen.drift
        loss = (self.shares(pair, batch) * (each + self.sft_weight * chosen.error)).sum()
        return loss, self.metrics(sides, batch) | held | {"pull": c.detach()}
