"""DiffusionNFT: learn from good pictures and away from bad ones, without a sampler's densities."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from pydantic import Field
from torch import Tensor

from training.contracts import Policy
from training.interpolants import Estimate
from training.methods._forward_process import ForwardProcess, Levels, Noised, VelocityWeight, squared

LEAST_ERROR = 1e-5  # the smallest that an error is divided by


class Nft(ForwardProcess):
    """DiffusionNFT (arXiv:2509.16117): an old policy paints; a mixture of it and ours fits its good and bad pictures.

    With the optimality r in [0, 1] of a picture, the positive mixture v+ = old + beta (ours - old) has to fit it with
    weight r, the negative one v- = old - beta (ours - old) with weight 1 - r.
    """

    levels: Levels = 9
    kl_weight: VelocityWeight = 1e-4
    beta: float = Field(default=1.0, gt=0, le=10, description="How far the mixtures reach out from the old policy.")
    decay_flat: int = Field(default=0, ge=0, description="Updates for which the old policy follows at once.")
    decay_rate: float = Field(default=1e-3, ge=0, le=1, description="How much slower it follows with each update.")
    decay_limit: float = Field(default=0.5, ge=0, lt=1, description="The slowest it may follow.")

    def sampler(self, policy: Policy) -> AbstractContextManager[None]:
        """The old policy."""
        return policy.as_version(self._trailing)

    def decay(self, update: int) -> float:
        """min(max(0, update - flat) rate, limit)."""
        return min(max(0, update - self.decay_flat) * self.decay_rate, self.decay_limit)

    def loss(
        self, noised: Noised, now: Estimate, shares: Tensor, before: Mapping[str, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Section 3.2, in x0, which is linear in the velocity; each error is divided by its own size."""
        old = noised.estimate_in(noised.policy.as_version(self._trailing)).x0
        optimality, reach = 0.5 + 0.5 * shares, self.beta * (now.x0 - old)
        positive, negative = (self._error(side - noised.x0) for side in (old + reach, old - reach))
        loss = self.advantage_limit / self.beta * (optimality * positive + (1 - optimality) * negative)
        return loss, {"optimality": optimality, "old_distance": squared(reach.detach() / self.beta)}

    def _error(self, difference: Tensor) -> Tensor:
        size = difference.detach().abs().flatten(1).mean(dim=1).clamp(min=LEAST_ERROR)
        return squared(difference) / size
