"""DPO-C&M: DPO whose pairs are weighed by the step's importance, clipped and masked."""

from __future__ import annotations

from torch import Tensor

from training.contracts import PairBatch
from training.methods._preference import Sides
from training.methods._step_weights import StepWeighted


class DpoCm(StepWeighted):
    """DPO-C&M (arXiv:2505.21893): -m w̃ log sigmoid(s), w̃ the clipped smaller weight of the pair, m its mask."""

    def shares(self, sides: Sides, batch: PairBatch) -> Tensor:
        """m w̃, divided by what is left unmasked."""
        return super().shares(sides, batch) * self.clipped(self.smaller(sides))
