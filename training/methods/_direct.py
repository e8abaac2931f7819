"""What the direct-reward papers share: a rollout without gradient, a reward with gradient, a score from words."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from training.augmentations import augment
from training.contracts import PhotoBatch, Policy, PromptBatch, Reward
from training.methods._preferring import Preferring
from training.randomness import Rng
from training.rollout import sample


def recover_error(recovered: Tensor, x0: Tensor) -> Tensor:
    """||recovered - x0|| / ||x0|| per sample, [B], for the log: blur and wrong levels show here."""
    return (recovered.detach() - x0).flatten(1).norm(dim=1) / x0.flatten(1).norm(dim=1)


class DirectReward(BaseModel):
    """Settings and steps common to methods that follow a reward's gradient through one recovered picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    needs: ClassVar[frozenset[str]] = frozenset({"differentiable"})

    rollout_steps: int = Field(
        default=25, ge=1, le=1000, description="Sampling steps from noise to image, without gradient."
    )
    rollout_guidance_scale: float = Field(default=1.0, ge=0, le=50, description="Guidance of the rollout.")
    guidance_scale: float = Field(
        default=1.0,
        ge=0,
        le=50,
        description="Guidance of the call that carries gradient; 1 trains the conditional branch only.",
    )
    shift: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Shift of the rollout's noise levels; above 1 stays longer in noise. Empty: the base's own levels.",
    )
    augmentation: float = Field(
        default=1.0,
        ge=0,
        le=2,
        description="Random shift, scale, blur and noise before the reward; 0 turns the safeguard off.",
    )

    def rollout(self, policy: Policy, noise: Tensor, batch: PromptBatch) -> Tensor:
        """Clean latents from noise [B, ...], without gradient."""
        return sample(
            policy, noise, batch.conditioning,
            steps=self.rollout_steps, guidance_scale=self.rollout_guidance_scale, shift=self.shift,
        )  # fmt: skip

    def see(self, images: Tensor, reward: Reward, target: Any, rng: Rng) -> Tensor:
        """Scores [B, T] of the augmented pictures."""
        return reward.score(augment(images, rng, self.augmentation), target)


class CleanStart(DirectReward):
    """For methods that mix noise back into a finished picture: their own, or a photo."""

    source: Literal["rollout", "photos", "mixed"] = Field(
        default="rollout",
        description="Pictures that are started from: the network's own, photos (`data.photos`), or photos at first.",
    )
    photo_updates: int = Field(default=30, ge=0, description="Updates from photos before `mixed` goes on by itself.")

    def clean(self, policy: Policy, noise: Tensor, batch: PromptBatch, rng: Rng) -> Tensor:
        """Clean latents [B, ...], without gradient; a photo's do not come from `noise`, which is fresh beside it."""
        own = self.source == "rollout" or (self.source == "mixed" and rng.update >= self.photo_updates)
        return batch.latents if isinstance(batch, PhotoBatch) and not own else self.rollout(policy, noise, batch)


class WordedReward(DirectReward, Preferring):
    """For methods that are not themselves about words: how a control-word pair becomes one score."""

    def preference_score(self, policy: Policy, reward: Reward, latents: Tensor, target: Any, rng: Rng) -> Tensor:
        """One score per picture, [B], with gradient to the latents."""
        return self.preferred(self.see(policy.decode(latents), reward, target, rng))
