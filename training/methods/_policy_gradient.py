"""The one clipped policy gradient of DDPO, Flow-GRPO, DanceGRPO and MixGRPO: a sampling step is an action.

Papers differ in which noise a step draws (`dynamics`), which steps are drawn and trained (`window`), what a reward is
measured against (`advantage_scale`), and how the ratio of two densities is read (`ratio`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from toolkit.errors import UsageError
from training.alarms import Alarm
from training.contracts import Event, OptimizerStep, Policy, PromptBatch, Report, Reward
from training.methods._groups import EVEN, GroupMethod, Piece, select
from training.methods._surrogate import clipped_loss, diagnostics
from training.methods._windows import Windowed
from training.randomness import Rng
from training.rollout import sampler_grid
from training.stochastic import Dynamics, Transition, flow_sigma, kl, log_ratio, stochastic_trajectory, transition

StepNoise = Annotated[
    Dynamics,
    Field(
        description="Noise of a step. flow_sde, dance_sde: grows with its length; cps, ddim: keeps the level's power."
    ),
]
NoiseLevel = Annotated[
    float, Field(gt=0, le=2, description="a (flow_sde, cps) or eta (dance_sde, ddim): how far samples spread.")
]
ClipRange = Annotated[
    float, Field(gt=0, le=1, description="How far the ratio may count. Tiny: it is a mean over all elements.")
]
KlWeight = Annotated[float, Field(ge=0, le=100, description="Pull towards the base; 0 spares its calls.")]


@dataclass(frozen=True)
class Rollout:
    """n samples' walks: states [N + 1, n, ...], the means they were drawn from [N, n, ...], levels and choices."""

    sigmas: Tensor  # [N + 1]
    states: Tensor
    means: Tensor
    noise_levels: Tensor  # [n, N]
    trained: Tensor  # [n, T]


ONE_SIDED = Alarm(
    "clipped_one_sided", 0.3,
    "Clipping stops one side only: the ratio is biased, and good pictures stop counting before bad ones, or the "
    "reverse. Set ratio: guard, or lower the learning rate.",
)  # fmt: skip


class PolicyGradient(GroupMethod, Windowed):
    """Settings and steps of the family. Densities are those of the Gaussian step, as means over a sample's elements."""

    alarms: ClassVar[tuple[Alarm, ...]] = (EVEN, ONE_SIDED)

    dynamics: StepNoise = "flow_sde"
    noise_level: NoiseLevel = 0.7
    ratio: Literal["plain", "guard"] = Field(
        default="plain", description="guard: without the plain ratio's bias, all levels weighing alike (GRPO-Guard)."
    )
    clip_range: ClipRange = 1e-4
    kl_weight: KlWeight = 0.0

    @model_validator(mode="after")
    def _power_can_be_kept(self) -> PolicyGradient:
        if self.dynamics in ("cps", "ddim") and self.noise_level > 1:
            raise ValueError(f"{self.dynamics} needs a noise_level of at most 1: a step cannot be more than all noise")
        return self

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Event]:
        """One report per trained step and network call."""
        sigmas = sampler_grid(policy, self.rollout_steps, self.shift).to(policy.device)
        pieces = list(self.pieces(batch, rng))
        rollout = _joined([self._walk(policy, piece, sigmas) for piece in pieces])
        cut = rollout.states[-1].split(self.samples_per_call)
        rewards = torch.cat([self.rate(policy, reward, x0, p.batch) for x0, p in zip(cut, pieces, strict=True)])
        advantages = yield from self.advantages(rewards, batch)
        summary, limited = self.summary(rewards, advantages), self.limited(advantages)
        for number, calls in enumerate(self.passes(advantages)):
            if number:
                yield OptimizerStep()
            terms = sum(len(places) for places in calls) * rollout.trained.shape[1]
            for turn in range(rollout.trained.shape[1]):
                for places in calls:
                    loss, metrics = self._loss(policy, batch, rollout, limited[places], places, turn)
                    yield Report(loss.sum() / terms, summary | metrics)

    def _walk(self, policy: Policy, piece: Piece, sigmas: Tensor) -> Rollout:
        trained, noisy = self.choose(self.rollout_steps, piece.rng, piece.groups)
        walk = stochastic_trajectory(
            policy, self.starting_noise(policy, piece), piece.batch.conditioning, sigmas, piece.rng,
            dynamics=self.dynamics, noise_levels=self.noise_level * noisy.float(), guidance_scale=self.guidance_scale,
        )  # fmt: skip
        stds = torch.stack([step.std for step in walk.steps], dim=1)
        if (noisy & (stds == 0)).any():
            raise UsageError(
                "Two neighbouring noise levels of the sampler are one and the same timestep of this base.",
                cause="Its network knows whole timesteps only.",
                action="Leave `method.shift` empty, or lower `method.rollout_steps`.",
            )
        means = torch.stack([step.mean for step in walk.steps])
        return Rollout(sigmas, torch.stack(list(walk.states)), means, self.noise_level * noisy.float(), trained)

    def _loss(
        self, policy: Policy, batch: PromptBatch, rollout: Rollout, advantages: Tensor, places: Tensor, turn: int
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        """The turn-th trained step of the samples at `places` → the loss of each, [b], and what to log."""
        steps = rollout.trained[places, turn]
        x, following = rollout.states[steps, places], rollout.states[steps + 1, places]
        here, there = (policy.schedule.level(rollout.sigmas[steps + k]) for k in (0, 1))
        conditioning = select(batch.conditioning, places, self.group_size)
        length = flow_sigma(here) - flow_sigma(there)

        def step() -> Transition:
            estimate = policy.predict(x, here, conditioning, self.guidance_scale)
            return transition(estimate, here, there, self.dynamics, rollout.noise_levels[places, steps])

        now = step()
        old = Transition(rollout.means[steps, places], now.std)
        change, moved = log_ratio(following, now, old), kl(now, old)
        if self.ratio == "guard":  # the plain log-ratio's mean is -KL; added back and in units of std, it has mean 0
            ratio = ((change + moved) * now.std).exp()
        else:
            ratio = change.exp()
        loss = clipped_loss(ratio, advantages, self.clip_range)
        if self.ratio == "guard":
            loss = loss / length
        metrics = {f"ratio.{turn}": ratio.detach(), f"kl.{turn}": moved.detach()}
        metrics |= diagnostics(ratio.detach(), change.detach() * x[0].numel(), advantages, self.clip_range)
        if self.kl_weight > 0:
            with torch.no_grad(), policy.as_reference():
                reference = step()
            distance = length * kl(now, reference)  # over g², where the exact divergence has g² times the length
            loss = loss + self.kl_weight * distance
            metrics["reference_kl"] = distance.detach()
        return loss, metrics


def _joined(rollouts: list[Rollout]) -> Rollout:
    """All pieces of a micro-batch."""

    def join(name: str, dim: int) -> Tensor:
        return torch.cat([getattr(rollout, name) for rollout in rollouts], dim=dim)

    return Rollout(rollouts[0].sigmas, join("states", 1), join("means", 1), join("noise_levels", 0), join("trained", 0))
