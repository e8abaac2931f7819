"""SmPO: InPO with corrected inversion, its pairs weighed by how sure a scorer was."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from training.contracts import PairBatch
from training.methods._preference import Sides
from training.methods.inpo import Inpo


class Smpo(Inpo):
    """Smoothed Preference Optimization (ICML 2025): InPO with one ReNoise correction and logits scaled by confidence.

    s is multiplied by γ (2p - 1), p the softmax of the pair's scores, which are spread over [0, 1] by the whole set's.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pairs", "scores"})

    inversion_steps: int = Field(default=9, ge=1, le=1000, description="Levels of the grid that inversion walks.")
    renoise: bool = Field(default=True, description="Correct each step by a second look from where it leads.")
    smoothing: float = Field(default=10.0, gt=0, le=1000, description="γ: how strongly the scores weigh.")

    def logits(self, sides: Sides, batch: PairBatch) -> Tensor:
        """[B]."""
        confidence = 2 * (batch.scores[:, 0] - batch.scores[:, 1]).sigmoid() - 1
        return self.smoothing * confidence * super().logits(sides, batch)
