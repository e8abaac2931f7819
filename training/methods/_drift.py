"""The pull to the frozen base, steered so that the network stays at a wanted distance from it."""

from __future__ import annotations

from collections.abc import Generator, Mapping

import torch
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator
from torch import Tensor

from training.contracts import Policy, Pool

FACTOR = 1.5  # tolerance around the target, and the step of the weight
FARTHEST = 1000.0  # the weight never leaves its setting by more than this factor


class DriftControl(BaseModel):
    """λ d, d the mean squared distance of the network's answer to the base's. After each update

    λ ← 1.5 λ where d > 1.5 d*,  λ ← λ / 1.5 where d < d* / 1.5,  of the mean d of all its samples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference_weight: float = Field(default=0.01, ge=0, le=1e4, description="Weight of staying near the frozen base.")
    drift_target: float | None = Field(
        default=None,
        gt=0,
        le=1e4,
        description="`drift` that reference_weight is steered to, from its setting on; empty: it stays.",
    )

    _weight: float | None = PrivateAttr(default=None)  # of now; None: as it is set
    _seen: Tensor | None = PrivateAttr(default=None)  # this update's drift

    @model_validator(mode="after")
    def _something_to_steer(self) -> DriftControl:
        if self.drift_target is not None and self.reference_weight == 0:
            raise ValueError("drift_target steers reference_weight, which must not be 0 then")
        return self

    @property
    def weight_now(self) -> float:
        """λ."""
        return self.reference_weight if self._weight is None else self._weight

    def measured(self, drift: Tensor) -> Generator[Pool, None, None]:
        """Take note of the drift of all samples of an update; drift: [B] of this micro-batch, no gradient."""
        if self.drift_target is not None:
            pool = Pool(drift)
            yield pool
            self._seen = pool.everyone.double().mean()

    def after_update(self, policy: Policy, update: int) -> None:
        """One step of the controller."""
        if self.drift_target is None or self._seen is None:
            return
        ratio = float(self._seen) / self.drift_target
        wanted = self.weight_now * (FACTOR if ratio > FACTOR else 1 / FACTOR if ratio < 1 / FACTOR else 1.0)
        self._weight = min(max(wanted, self.reference_weight / FARTHEST), self.reference_weight * FARTHEST)

    def state_dict(self) -> dict[str, Tensor]:
        """λ, once it was steered."""
        return {} if self._weight is None else {"reference_weight": torch.tensor(self._weight, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        self._weight = float(state["reference_weight"]) if state else None
