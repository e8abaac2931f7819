"""What the group methods share: K pictures of each prompt, scored without gradient, and the order they train in.

A group lies whole within one micro-batch, so `training.batch_size` counts prompts, and a group never spans processes;
only statistics over all samples are pooled.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from training.alarms import Alarm
from training.contracts import Conditioning, Policy, Pool, PromptBatch, Reward
from training.methods._advantages import best_and_worst, group_advantages, group_std
from training.methods._preferring import Preferring
from training.randomness import Rng

EVEN = Alarm(
    "zero_std", 0.5,
    "Most groups' pictures score alike, so there is nothing to prefer: the prompts are too easy or too hard, or the "
    "reward is too coarse. Change them, or raise noise_level or group_size.",
)  # fmt: skip

# Settings whose default is a paper's own.
GroupSize = Annotated[int, Field(ge=2, le=512, description="Pictures per prompt; training.batch_size counts prompts.")]
RolloutSteps = Annotated[int, Field(ge=2, le=1000, description="Sampling steps from noise to image.")]
GuidanceScale = Annotated[
    float, Field(ge=0, le=50, description="Guidance of sampling and training alike; 1 spares half of the calls.")
]
SharedNoise = Annotated[bool, Field(description="One starting noise for a group: lower variance, less diversity.")]
AdvantageScale = Annotated[
    Literal["group", "global"],
    Field(description="What a group's rewards are divided by: its own deviation, or that of all samples."),
]
AdvantageLimit = Annotated[float, Field(gt=0, le=1000, description="Larger advantages are cut to this.")]
Minibatches = Annotated[int, Field(ge=1, le=512, description="Optimizer steps per pass, each on its share of them.")]


@dataclass(frozen=True)
class Piece:
    """Samples of one network call; `rng` belongs to each sample, `groups` to its prompt."""

    batch: PromptBatch
    rng: Rng
    groups: Rng


class GroupMethod(Preferring):
    """Settings and steps of methods that compare several pictures of one prompt. The reward needs no gradient."""

    needs: ClassVar[frozenset[str]] = frozenset()
    alarms: ClassVar[tuple[Alarm, ...]] = (EVEN,)

    group_size: GroupSize = 24
    rollout_steps: RolloutSteps = 10
    guidance_scale: GuidanceScale = 1.0
    shift: float | None = Field(
        default=None, gt=0, le=100, description="Shift of the sampler's noise levels. Empty: the base's own levels."
    )
    shared_noise: SharedNoise = False
    advantage_scale: AdvantageScale = "global"
    advantage_limit: AdvantageLimit = 5.0
    best_of: int = Field(
        default=0, ge=0, le=512, description="Train this many of a group, half best and half worst; 0: all."
    )
    epochs: int = Field(default=1, ge=1, le=64, description="Passes over the samples of an update.")
    minibatches: Minibatches = 1
    samples_per_call: int = Field(
        default=8, ge=1, le=4096, description="Pictures per network call: memory against speed, the same LoRA."
    )

    @model_validator(mode="after")
    def _groups_can_be_divided(self) -> GroupMethod:
        if self.best_of % 2 or self.best_of > self.group_size:
            raise ValueError("best_of must be even and at most group_size")
        if self.minibatches > (self.best_of or self.group_size):
            raise ValueError("minibatches must be at most group_size (or best_of)")
        return self

    @property
    def optimizer_steps(self) -> int:
        """Per update."""
        return self.epochs * self.minibatches

    def pieces(self, batch: PromptBatch, rng: Rng) -> Iterator[Piece]:
        """Each prompt K times, cut into network calls. Sample k of prompt i is number i K + k of the update."""
        samples = [(place, k) for place in range(len(batch.prompts)) for k in range(self.group_size)]
        for start in range(0, len(samples), self.samples_per_call):
            chosen = samples[start : start + self.samples_per_call]
            owners = [place for place, _ in chosen]
            numbers = tuple(rng.indices[place] * self.group_size + k for place, k in chosen)
            groups = tuple(rng.indices[place] for place in owners)
            yield Piece(
                PromptBatch(
                    [batch.prompts[place] for place in owners],
                    {name: value[owners] for name, value in batch.conditioning.items()},
                    [batch.words[place] for place in owners] if batch.words else [],
                ),
                Rng(rng.seed, rng.update, numbers, rng.device),
                Rng(rng.seed, rng.update, groups, rng.device),
            )

    def starting_noise(self, policy: Policy, piece: Piece) -> Tensor:
        """Standard normal [b, *latent_shape]."""
        return (piece.groups if self.shared_noise else piece.rng).normal("noise", policy.latent_shape)

    @torch.no_grad()
    def rate(self, policy: Policy, reward: Reward, latents: Tensor, batch: PromptBatch) -> Tensor:
        """One score per clean latent, [b]."""
        return self.preferred(reward.score(policy.decode(latents), self.preference_target(reward, batch)))

    def advantages(self, rewards: Tensor, batch: PromptBatch) -> Generator[Pool, None, Tensor]:
        """How much better than its group each sample is, [P · K]."""
        if self.advantage_scale == "group":
            return group_advantages(rewards, self.group_size)
        pool = Pool(rewards)
        yield pool
        return group_advantages(rewards, self.group_size, pool.everyone)

    def limited(self, advantages: Tensor) -> Tensor:
        """Within ± advantage_limit."""
        return advantages.clamp(-self.advantage_limit, self.advantage_limit)

    def passes(self, advantages: Tensor) -> Iterator[list[Tensor]]:
        """For each optimizer step the places of its samples, one tensor for each network call.

        A step takes every group's members in turn, so that all micro-batches are divided alike.
        """
        if self.best_of:
            kept = best_and_worst(advantages, self.group_size, self.best_of)
        else:
            kept = torch.arange(len(advantages), device=advantages.device).unflatten(0, (-1, self.group_size))
        for number in range(self.optimizer_steps):
            share = kept[:, number % self.minibatches :: self.minibatches].flatten()
            yield list(share.split(self.samples_per_call))

    def summary(self, rewards: Tensor, advantages: Tensor) -> dict[str, Tensor]:
        """What to log of an update's samples."""
        limited = (advantages.abs() > self.advantage_limit).float()
        values = {"reward": rewards, "advantage": advantages.abs(), "advantage_limited": limited}
        if self.group_size > 1:
            spread = group_std(rewards, self.group_size)
            values |= {"reward_std": spread, "zero_std": (spread == 0).float()}
        return values


def select(conditioning: Conditioning, places: Tensor, group_size: int) -> Conditioning:
    """The conditioning of samples at `places` of a micro-batch, from that of its prompts."""
    return {name: value[(places // group_size).to(value.device)] for name, value in conditioning.items()}
