"""Diffusion-DPO, and on a flow base Flow-DPO: prefer the chosen picture, as far as the frozen base allows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from training.contracts import PairBatch
from training.methods._preference import Preference, Sides


class Dpo(Preference):
    """Diffusion-DPO (arXiv:2311.12908), on a flow base Flow-DPO (arXiv:2501.13918): pairs by both sides' errors.

    L = -log sigmoid(-(β/2) [e_θ(w) - e_ref(w) - e_θ(l) + e_ref(l)]) at one level and one noise per pair.
    """

    beta_schedule: Literal["constant", "alpha2"] = Field(
        default="constant",
        description="alpha2: β falls with alpha², as derived for flow; constant aligns better (arXiv:2501.13918).",
    )

    def logits(self, sides: Sides, batch: PairBatch) -> Tensor:
        """[B]."""
        constant = super().logits(sides, batch)
        return constant if self.beta_schedule == "constant" else sides.drawn.level.alpha.square() * constant
