"""SDPO, now SIPO: the step's importance weighs each picture's own log-ratio, inside the sigmoid."""

from __future__ import annotations

from torch import Tensor

from training.contracts import PairBatch
from training.methods._preference import Sides
from training.methods._step_weights import StepWeighted


class Sdpo(StepWeighted):
    """SDPO, now SIPO (arXiv:2505.21893): -m log sigmoid(-(β/2) (w̃_w Δ_w - w̃_l Δ_l)), a reweighting, not unbiased.

    The paper gives the weight, its clip and its mask; the algebra is derived here, and no training code was published.
    """

    def logits(self, sides: Sides, batch: PairBatch) -> Tensor:
        """[B]."""
        chosen, rejected = (self.clipped(self.weight(s, sides.drawn)) for s in (sides.chosen, sides.rejected))
        return self.beta / 2 * (rejected * sides.rejected.gap - chosen * sides.chosen.gap)
