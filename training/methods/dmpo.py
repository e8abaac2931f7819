"""DMPO: the reverse divergence between what the model prefers and an almost certain choice."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from training.methods._preference import Preference


class Dmpo(Preference):
    """Divergence Minimization Preference Optimization (arXiv:2507.07510): KL(Bern(sigmoid(s)) || Bern(1 - a))."""

    doubt: float = Field(default=0.01, gt=0, lt=0.5, description="Share a of pairs that may be the wrong way round.")

    def link(self, logits: Tensor) -> Tensor:
        """Mode-seeking, where DPO's is mode-covering: a pair that is safely won pushes no further."""
        won, lost = logsigmoid(logits), logsigmoid(-logits)
        return won.exp() * (won - math.log(1 - self.doubt)) + lost.exp() * (lost - math.log(self.doubt))
