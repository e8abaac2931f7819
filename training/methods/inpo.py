"""DDIM-InPO: DPO at noise that the model itself would turn into the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

from pydantic import Field
from torch.nn.functional import cosine_similarity

from training import interpolants
from training.contracts import PairBatch, Policy
from training.interpolants import Estimate
from training.methods._denoising import Drawn, Metrics, View
from training.methods._preference import Preference, Sides
from training.randomness import Rng
from training.rollout import invert


class Inpo(Preference):
    """DDIM-InPO (arXiv:2503.18454): DPO whose noise comes from inverting each picture up to the drawn level.

    Both pictures walk the sampler's path backwards, without guidance and without gradient, and land exactly on the
    level. What they are compared with is the noise implied there, τ = (x_t - α x_0) / σ, of each its own.
    """

    inversion_steps: int = Field(default=10, ge=1, le=1000, description="Levels of the grid that inversion walks.")
    inversion_noise: float = Field(
        default=0.0, ge=0, le=1, description="η, fresh noise after each step: 0.1 in the published code, 0 for flow."
    )
    inversion_model: Literal["policy", "reference"] = Field(
        default="policy", description="Who walks: the network in training (as published), or the frozen base."
    )
    renoise: bool = Field(default=False, description="Correct each step by a second look from where it leads.")

    def views(self, policy: Policy, batch: PairBatch, drawn: Drawn, rng: Rng) -> Sequence[View]:
        """The chosen and the rejected picture, inverted."""
        with policy.as_reference() if self.inversion_model == "reference" else nullcontext():
            return [self._inverted(policy, batch, drawn, rng, side) for side in ("chosen", "rejected")]

    def _inverted(self, policy: Policy, batch: PairBatch, drawn: Drawn, rng: Rng, side: str) -> View:
        x0, level = getattr(batch, side), drawn.level
        x_t = invert(
            policy, x0, batch.conditioning, drawn.sigma, policy.schedule.grid(self.inversion_steps),
            renoise=self.renoise, eta=self.inversion_noise,
            fresh=lambda step: rng.normal(f"{side}.{step}", policy.latent_shape),
        )  # fmt: skip
        return View(x_t, Estimate(x0, interpolants.recover_noise(x_t, x0, level.alpha, level.sigma)))

    def metrics(self, sides: Sides, batch: PairBatch) -> Metrics:
        """And of the implied noises: their size, about 1 where inversion is true to the model, and their likeness."""
        chosen, rejected = (view.truth.noise.flatten(1) for view in sides.views)
        return super().metrics(sides, batch) | {
            "implied_noise": (chosen.square().mean(dim=1).sqrt() + rejected.square().mean(dim=1).sqrt()) / 2,
            "implied_likeness": cosine_similarity(chosen, rejected),
        }
