"""IPO for diffusion: the margin is pulled to a fixed width instead of ever wider."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from training.contracts import PairBatch
from training.methods._preference import Preference, Sides


class Ipo(Preference):
    """IPO (arXiv:2310.12036) on denoising errors: (u - 1/(2β))² with u = Δ_rejected - Δ_chosen, a bounded margin."""

    beta: float = Field(default=500.0, gt=0, le=1e6, description="The width 1/(2 beta) that u is pulled to.")

    def logits(self, sides: Sides, batch: PairBatch) -> Tensor:
        """u, [B]."""
        return sides.rejected.gap - sides.chosen.gap

    def link(self, logits: Tensor) -> Tensor:
        """Zero only where u has its width."""
        return (logits - 1 / (2 * self.beta)).square()
