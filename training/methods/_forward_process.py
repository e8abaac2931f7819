"""What forward-process methods share: pictures from any sampler, noised anew at drawn levels, and a trailing policy.

No density of a sampling path is needed; all that is kept of a rollout is its clean latent. Errors are measured in x0 or
in the flow velocity noise - x0, which every family's estimate speaks of.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor

from training.contracts import Conditioning, Event, OptimizerStep, Policy, PromptBatch, Report, Reward
from training.interpolants import Estimate, interpolate
from training.methods._groups import GroupMethod, select
from training.randomness import Rng
from training.rollout import sample, sampler_grid
from training.schedules import Level

Levels = Annotated[int, Field(ge=1, le=64, description="Noise levels at which each picture is trained, spread evenly.")]
VelocityWeight = Annotated[
    float, Field(ge=0, le=100, description="Pull of the velocity towards the base's; 0 spares its calls.")
]


@dataclass(frozen=True)
class Noised:
    """b clean pictures under fresh noise, x_t [b, ...], and who asks about them with which guidance."""

    policy: Policy
    x0: Tensor
    noise: Tensor
    x_t: Tensor
    level: Level
    conditioning: Conditioning
    guidance_scale: float

    def estimate(self) -> Estimate:
        """One network call."""
        return self.policy.predict(self.x_t, self.level, self.conditioning, self.guidance_scale)

    def estimate_in(self, version: AbstractContextManager[None]) -> Estimate:
        """One network call of another policy, without gradient."""
        with torch.no_grad(), version:
            return self.estimate()


class ForwardProcess(GroupMethod):
    """Settings and steps of methods that train on noised rollouts."""

    levels: Levels = 6
    kl_weight: VelocityWeight = 1e-3

    _trailing: dict[str, Tensor] = PrivateAttr(default_factory=dict)  # a moving average of the adapter

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Event]:
        """One report per level and network call."""
        self._trailing = self._trailing or policy.adapter_state()
        pieces, clean, rewards = list(self.pieces(batch, rng)), [], []
        for piece in pieces:
            with self.sampler(policy):
                latents = sample(
                    policy, self.starting_noise(policy, piece), piece.batch.conditioning,
                    steps=self.rollout_steps, guidance_scale=self.guidance_scale, shift=self.shift,
                )  # fmt: skip
            clean.append(latents)
            rewards.append(self.rate(policy, reward, latents, piece.batch))
        x0, scores = torch.cat(clean), torch.cat(rewards)
        advantages = yield from self.advantages(scores, batch)
        summary, shares = self.summary(scores, advantages), self.limited(advantages) / self.advantage_limit
        before = policy.adapter_state() if self.optimizer_steps > 1 else None
        for number, calls in enumerate(self.passes(advantages)):
            if number:
                yield OptimizerStep()
            terms = sum(len(places) for places in calls) * self.levels
            for turn in range(self.levels):
                for places in calls:
                    noised = self._noised(policy, batch, rng, x0, places, turn)
                    loss, metrics = self._with_pull(noised, shares[places], before)
                    yield Report(loss.sum() / terms, summary | metrics)

    def sampler(self, policy: Policy) -> AbstractContextManager[None]:
        """Which version of the policy makes the pictures."""
        return nullcontext()

    @abstractmethod
    def loss(
        self, noised: Noised, now: Estimate, shares: Tensor, before: Mapping[str, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The paper's loss of each sample, [b], and what to log.

        shares: advantages within [-1, 1]; before: the adapter at the start of the update, None while nothing has moved.
        """

    @abstractmethod
    def decay(self, update: int) -> float:
        """Memory of the trailing policy: 0 follows at once, 1 stays."""

    def after_update(self, policy: Policy, update: int) -> None:
        """The trailing policy comes after."""
        now, decay = policy.adapter_state(), self.decay(update)
        self._trailing = {name: torch.lerp(new, self._trailing[name].to(new), decay) for name, new in now.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """The trailing policy's adapter."""
        return dict(self._trailing)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        self._trailing = dict(state)

    def _noised(
        self, policy: Policy, batch: PromptBatch, rng: Rng, x0: Tensor, places: Tensor, turn: int
    ) -> Noised:  # fmt: skip
        """Samples at one level each, in the turn-th of `levels` equal parts of the sampler's own path."""
        size = self.group_size
        numbers = tuple(rng.indices[place // size] * size + place % size for place in places.tolist())
        own = Rng(rng.seed, rng.update, numbers, rng.device)
        path = sampler_grid(policy, self.rollout_steps, self.shift).to(x0.device)
        position = (turn + own.uniform(f"level.{turn}")) / self.levels * self.rollout_steps
        step = position.long().clamp(max=self.rollout_steps - 1)
        level = policy.schedule.level(torch.lerp(path[step], path[step + 1], position - step))
        clean, noise = x0[places], own.normal(f"fresh.{turn}", policy.latent_shape)
        x_t = interpolate(clean, noise, level.alpha, level.sigma)
        conditioning = select(batch.conditioning, places, size)
        return Noised(policy, clean, noise, x_t, level, conditioning, self.guidance_scale)

    def _with_pull(
        self, noised: Noised, shares: Tensor, before: Mapping[str, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        now = noised.estimate()
        loss, metrics = self.loss(noised, now, shares, before)
        if self.kl_weight > 0:
            distance = velocity_distance(now, noised.estimate_in(noised.policy.as_reference()))
            loss, metrics["reference_kl"] = loss + self.kl_weight * distance, distance.detach()
        return loss, metrics


def squared(difference: Tensor) -> Tensor:
    """Mean square over each sample's elements, [b]."""
    return difference.square().flatten(1).mean(dim=1)


def velocity_distance(first: Estimate, second: Estimate) -> Tensor:
    """Mean square of the difference of two flow velocities, [b]."""
    return squared((first.noise - first.x0) - (second.noise - second.x0))
