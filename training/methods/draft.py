"""DRaFT: backpropagation of the reward through the last sampling steps."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, model_validator

from training import interpolants
from training.contracts import Policy, PromptBatch, Report, Reward
from training.methods._trajectory import Path, TrajectoryReward, last_steps, sweep
from training.randomness import Rng


class Draft(TrajectoryReward):
    """DRaFT-K and DRaFT-LV (arXiv:2309.17400): the reward's gradient through the last k steps of the sampler.

    k = rollout_steps is full DRaFT, at the memory of one step. Under the rollout's own guidance the gradient is exact,
    both passes of true guidance included; guidance_scale 1 lets it through the conditional branch alone.
    """

    rollout_steps: int = Field(default=50, ge=1, le=1000, description="Sampling steps from noise to image.")
    k: int = Field(default=1, ge=1, le=1000, description="Last sampling steps that carry gradient.")
    lv_draws: int = Field(
        default=0,
        ge=0,
        le=64,
        description="DRaFT-LV: fresh noises put on the finished picture for its last step (2 in the paper); 0: off.",
    )

    @model_validator(mode="after")
    def _fitting(self) -> Draft:
        if self.k > self.rollout_steps:
            raise ValueError("k <= rollout_steps must hold")
        if self.lv_draws and self.k > 1:
            raise ValueError("lv_draws is about the last step alone: k = 1 must hold")
        return self

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Report]:
        """One report per step of the chain, or per fresh noise."""
        path = self.walk(policy, batch, rng)
        if self.lv_draws:
            yield from self._low_variance(path, reward, batch, rng)
        else:
            verdict = self.judge(policy, reward, batch, rng, path.picture)
            yield from sweep(path, verdict, last_steps(path, self.k))

    def _low_variance(self, path: Path, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Report]:
        """The picture is noised again to the last level, n times; one step with gradient each, and the mean of n."""
        step = last_steps(path, 1).steps[0]
        policy, last = path.policy, path.level(step)
        target = self.preference_target(reward, batch)
        for draw in range(self.lv_draws):
            noise = rng.normal(f"lv.{draw}", policy.latent_shape)
            x_t = interpolants.interpolate(path.picture, noise, last.alpha, last.sigma)
            x0 = policy.predict(x_t, last, batch.conditioning, self.guidance_scale).x0
            score = self.preference_score(policy, reward, x0, target, rng)
            metrics = {"reward": score.detach(), "sigma": path.sigmas[step]}
            yield Report(self.unhappiness(score).mean() / self.lv_draws, metrics)
