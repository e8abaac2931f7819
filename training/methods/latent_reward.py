"""Learning from a reward on noisy latents: by its gradient one step on, or by a network whose score it adjusts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor

from training import interpolants, latent_reward
from training.contracts import Conditioning, Event, PhotoBatch, Policy, PromptBatch, Report, Reward
from training.latent_reward import LatentReward, adjustment, limited, rms
from training.methods._denoising import Denoising, Drawn, by_level, mean_square, noised
from training.methods._drift import DriftControl
from training.randomness import Rng
from training.rollout import sample


class FollowLatentReward(DriftControl, Denoising):
    """A preference learned on noisy latents steers the network at every noise level, without a decoder.

    "Score-based reward preference optimization" has no published equations. `refl` is the nearest published work,
    PRFL (arXiv:2511.21541) and DiNa-LRM (arXiv:2602.11146); `adjust` is the literal reading: the density tilted by
    exp(strength R) has a score larger by strength ∇R, and the network is taught that score.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    weights: str = Field(default="", description="File of `palate reward train-latent`, its path in full.")
    mode: Literal["refl", "adjust"] = Field(
        default="refl", description="refl: climb the reward one step on; adjust: learn the score that it implies."
    )
    source: Literal["rollout", "photos", "beside"] = Field(
        default="rollout",
        description="What noise is mixed into: the network's own pictures or photos (`data.photos`); beside: its own, "
        "with photos for `data_weight`.",
    )
    rollout_steps: int = Field(default=25, ge=1, le=1000, description="Sampling steps of the network's own pictures.")
    rollout_guidance_scale: float = Field(default=1.0, ge=0, le=50, description="Guidance of those steps.")
    sigma_low: float = Field(default=0.1, ge=0.01, lt=1, description="Cleanest noise level trained.")
    sigma_high: float = Field(default=0.9, gt=0, lt=1, description="Noisiest noise level trained; σ / (1 - σ) grows.")
    step: float = Field(default=0.05, gt=0, lt=1, description="refl: how much cleaner the reward's look is.")
    strength: float = Field(default=30.0, ge=0, le=1e4, description="adjust: λ of the density tilted by exp(λ R).")
    limit: float = Field(
        default=0.2, gt=0, le=10, description="Most that the reward may pull, as a share of the network's own answer."
    )
    sigma_weighting: Literal["trust", "uniform"] = Field(
        default="trust", description="trust: levels weigh what the reward's held-out accuracy there is above a guess."
    )
    reward_weight: float = Field(default=1.0, ge=0, le=1e4, description="Weight of the reward.")
    data_weight: float = Field(
        default=0.1,
        ge=0,
        le=1e4,
        description="Weight of plain learning from photos, or else the frozen base's pictures.",
    )

    _judge: LatentReward | None = PrivateAttr(default=None)

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Event]:
        """One report for the reward and the frozen base's pull, one for the data's distribution."""
        if self._judge is None:
            self._judge = latent_reward.load(self.weights, policy)
        noise, drawn, text = rng.normal("noise", policy.latent_shape), self.draw(policy, rng), batch.conditioning
        photos = batch.latents if isinstance(batch, PhotoBatch) else None
        x0 = photos if photos is not None and self.source == "photos" else self._rollout(policy, noise, text)
        x_t, level = noised(x0, noise, drawn.level).x_t, drawn.level
        with torch.no_grad(), policy.as_reference():
            frozen = policy.as_output(policy.predict(x_t, level, text, self.guidance_scale), level)
        follow = self.refl if self.mode == "refl" else self.adjust
        pull, score, answer = follow(policy, self._judge, x_t, frozen, drawn, text)
        trust = self._judge.trust(drawn.sigma) if self.sigma_weighting == "trust" else torch.ones_like(drawn.sigma)
        drift = mean_square(answer - frozen)
        loss = self.reward_weight * (trust * pull).mean() + self.weight_now * drift.mean()
        numbers = {"latent_score": score}
        numbers |= by_level(drawn.sigma, numbers) | {"drift": drift.detach(), "trust": trust, "sigma": drawn.sigma}
        yield Report(loss, numbers | {"reference_weight": drift.new_tensor(self.weight_now)})
        yield from self.measured(drift.detach())
        if self.data_weight:
            yield self.keep(policy, photos, drawn, text, rng)

    def refl(
        self, policy: Policy, judge: LatentReward, x_t: Tensor, frozen: Tensor, drawn: Drawn, text: Conditioning
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-R one sampler step on, per unit of step: (loss [B], score [B], the network's answer)."""
        width = drawn.sigma.clamp(max=self.step)
        to = policy.schedule.level(drawn.sigma - width)
        estimate = policy.predict(x_t, drawn.level, text, self.guidance_scale)
        following = interpolants.step(estimate, to.alpha, to.sigma)
        seen = judge.look(policy, following, to, text)
        gradient = limited(seen.gradient, self.limit * rms(frozen))
        climbed = (gradient * (following - following.detach())).flatten(1).sum(dim=1)  # 0, with the reward's slope
        return -(seen.score + climbed) / width, seen.score, policy.as_output(estimate, drawn.level)

    def adjust(
        self, policy: Policy, judge: LatentReward, x_t: Tensor, frozen: Tensor, drawn: Drawn, text: Conditioning
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Distance to the frozen base's adjusted answer: (loss [B], score [B], the network's answer)."""
        seen = judge.look(policy, x_t, drawn.level, text)
        change = policy.as_output(adjustment(seen.gradient, drawn.level, self.strength), drawn.level)
        wanted = frozen + limited(change, self.limit * rms(frozen))
        answer = policy.as_output(policy.predict(x_t, drawn.level, text, self.guidance_scale), drawn.level)
        return mean_square(answer - wanted), seen.score, answer

    def keep(self, policy: Policy, photos: Tensor | None, drawn: Drawn, text: Conditioning, rng: Rng) -> Report:
        """The denoising loss on what the network should still draw: photos, or pictures of the frozen base."""
        if photos is None:
            with policy.as_reference():
                photos = self._rollout(policy, rng.normal("replay", policy.latent_shape), text)
        view = noised(photos, rng.normal("data", policy.latent_shape), drawn.level)
        error = mean_square(self.miss(policy, view, drawn.level, text)[0])
        return Report(self.data_weight * error.mean(), {"error": error.detach()})

    def _rollout(self, policy: Policy, noise: Tensor, text: Conditioning) -> Tensor:
        steps, guidance_scale = self.rollout_steps, self.rollout_guidance_scale
        return sample(policy, noise, text, steps=steps, guidance_scale=guidance_scale)
