"""AWM: the pre-training loss itself as the density that a policy gradient pushes."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from training.interpolants import Estimate
from training.methods._forward_process import ForwardProcess, Noised, squared, velocity_distance
from training.methods._groups import RolloutSteps
from training.methods._surrogate import clipped_loss, diagnostics
from training.stochastic import flow_sigma


class Awm(ForwardProcess):
    """Advantage Weighted Matching (arXiv:2509.25050): log-density = -weight(velocity error), clipped like GRPO's.

    A fast trailing policy holds ours back; without it and with a wide clip_range the authors see collapse.
    """

    rollout_steps: RolloutSteps = 14
    clip_range: float = Field(default=1.0, gt=0, le=1, description="How far the ratio may count.")
    error_power: float = Field(
        default=0.25, gt=0, le=1, description="Power of the squared error: below 1 large errors count less."
    )
    error_floor: float = Field(default=1e-3, gt=0, le=1, description="Errors below this count linearly.")
    trailing_weight: float = Field(
        default=1.0, ge=0, le=100, description="Pull of the velocity towards the trailing policy's; 0 spares its calls."
    )
    decay_rate: float = Field(default=1e-3, ge=0, le=1, description="How much slower that follows with each update.")
    decay_limit: float = Field(default=0.3, ge=0, lt=1, description="The slowest it may follow.")

    def decay(self, update: int) -> float:
        """min(update rate, limit)."""
        return min(update * self.decay_rate, self.decay_limit)

    def loss(
        self, noised: Noised, now: Estimate, shares: Tensor, before: Mapping[str, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The clipped surrogate of the ratio of two log-densities at the same noise."""
        density = self.log_density(noised, now)
        if before is None:
            old = density.detach()
        else:
            old = self.log_density(noised, noised.estimate_in(noised.policy.as_version(before)))
        change = density - old
        loss, ratio = clipped_loss(change.exp(), shares, self.clip_range), change.detach().exp()
        metrics = {"ratio": ratio, **diagnostics(ratio, change.detach(), shares, self.clip_range)}
        if self.trailing_weight > 0:
            trailing = noised.estimate_in(noised.policy.as_version(self._trailing))
            distance = velocity_distance(now, trailing)
            loss, metrics["trailing_kl"] = loss + self.trailing_weight * distance, distance.detach()
        return loss, metrics

    def log_density(self, noised: Noised, estimate: Estimate) -> Tensor:
        """-(s / p) ((error + floor)^p - floor^p) with the velocity's squared error ("ghuber"), [b]."""
        error = squared((estimate.noise - estimate.x0) - (noised.noise - noised.x0))
        power, floor = self.error_power, self.error_floor
        return -flow_sigma(noised.level) / power * ((error + floor) ** power - floor**power)
