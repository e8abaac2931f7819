"""Direct-Align: a usable picture and a bounded gradient at any noise level, from one network call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from training import interpolants
from training.contracts import Policy, PromptBatch, Report, Reward
from training.methods._direct import WordedReward, recover_error
from training.randomness import Rng


def early_weight(sigma_share: Tensor) -> Tensor:
    """λ(u) = 3u / (1 + 2u): 0 at the late (image) end of the trained range, 1 at the early end (arXiv:2509.06942)."""
    return 3 * sigma_share / (1 + 2 * sigma_share)


class DirectAlign(WordedReward):
    """Direct-Align (arXiv:2509.06942, section 3.1) with reward aggregation over `draws` noise levels of one rollout."""

    sigma_low: float = Field(default=0.2, gt=0, lt=1, description="Latest (cleanest) noise level trained.")
    sigma_high: float = Field(default=0.9, gt=0, le=0.97, description="Earliest (noisiest) noise level trained.")
    step_low: float = Field(
        default=0.05, gt=0, lt=1, description="Smallest step from the input level to the recovered one."
    )
    step_high: float = Field(default=0.3, gt=0, lt=1, description="Largest such step: the gain of the gradient.")
    draws: int = Field(default=1, ge=1, le=64, description="Noise levels drawn per rollout.")
    noise_coupling: Literal["rollout", "fresh"] = Field(
        default="rollout", description="The noise mixed back in: the rollout's own (sharp pictures) or a fresh one."
    )
    sigma_weighting: Literal["uniform", "early"] = Field(
        default="early", description="early: late levels, where hacking lives, weigh less."
    )

    @model_validator(mode="after")
    def _ordered(self) -> DirectAlign:
        if not (self.sigma_low <= self.sigma_high and self.step_low <= self.step_high):
            raise ValueError("sigma_low <= sigma_high and step_low <= step_high must hold")
        return self

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Report]:
        """One report per drawn level."""
        noise = rng.normal("noise", policy.latent_shape)
        x0 = self.rollout(policy, noise, batch)
        target = self.preference_target(reward, batch)
        for draw in range(self.draws):
            known = noise if self.noise_coupling == "rollout" else rng.normal(f"known.{draw}", policy.latent_shape)
            share = rng.uniform(f"sigma.{draw}")
            sigma_in = self.sigma_low + share * (self.sigma_high - self.sigma_low)
            width = rng.uniform(f"step.{draw}", self.step_low, self.step_high)
            level, to = policy.schedule.level(sigma_in), policy.schedule.level((sigma_in - width).clamp(min=0))

            x_in = interpolants.interpolate(x0, known, level.alpha, level.sigma)
            estimate = policy.predict(x_in, level, batch.conditioning, self.guidance_scale)
            recovered = interpolants.recover(estimate, known, to.alpha, to.sigma)
            score = self.preference_score(policy, reward, recovered, target, rng)
            weight = early_weight(share) if self.sigma_weighting == "early" else 1.0
            metrics = {"reward": score.detach(), "sigma": sigma_in, "recover_error": recover_error(recovered, x0)}
            yield Report(-(weight * score).mean() / self.draws, metrics)
