"""ReFL: the reward of one late step's clean-image estimate."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pydantic import Field, model_validator

from training.contracts import Policy, PromptBatch, Report, Reward
from training.methods._direct import WordedReward
from training.randomness import Rng
from training.rollout import sampler_grid, trajectory


class Refl(WordedReward):
    """ReFL (arXiv:2304.05977) without its pre-training term: sample to a late step, predict x0 there, score it."""

    rollout_steps: int = Field(default=40, ge=1, le=1000, description="Sampling steps of a full rollout.")
    first_step: int = Field(default=30, ge=0, description="Earliest step that may carry the gradient (0 = pure noise).")
    last_step: int = Field(default=39, ge=0, description="Latest step that may carry the gradient.")
    margin: float | None = Field(
        default=2.0, description="relu(margin - reward): satisfied pictures stop pulling; empty: never."
    )
    loss_scale: float = Field(
        default=1e-3, gt=0, description="Weight of the reward loss (1e-3 in the published scripts)."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Refl:
        if not self.first_step <= self.last_step < self.rollout_steps:
            raise ValueError("first_step <= last_step < rollout_steps must hold")
        return self

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Report]:
        """One report per call."""
        sigmas = sampler_grid(policy, self.rollout_steps, self.shift)
        noise = rng.normal("noise", policy.latent_shape)
        stop = rng.integer("stop", self.first_step, self.last_step)
        walked = trajectory(
            policy, noise, batch.conditioning, sigmas[: int(stop.max()) + 1], self.rollout_guidance_scale
        )
        x_t = torch.stack([walked[step][i] for i, step in enumerate(stop.tolist())])
        level = policy.schedule.level(sigmas[stop.cpu()].to(x_t.device))

        x0 = policy.predict(x_t, level, batch.conditioning, self.guidance_scale).x0
        score = self.preference_score(policy, reward, x0, self.preference_target(reward, batch), rng)
        unhappy = -score if self.margin is None else torch.relu(self.margin - score)
        yield Report(self.loss_scale * unhappy.mean(), {"reward": score.detach(), "sigma": level.sigma})
