"""What papers share that carry a reward's gradient through several sampling steps: one adjoint, from image to noise.

Such a paper chooses active steps A, each with the weight w that its network output has in the rewarded picture and a
bridge β, the share of the gradient that may pass through its network on to the active steps before it (0: the input is
detached). The rest is common (arXiv:2606.11075 and 2604.15311 in one formula), m descending:

    a ← dL/dpicture;   for m in A:   g ← g + w aᵀ ∂v(x_m)/∂θ;   a ← a + β w (∂v(x_m)/∂x_m)ᵀ a

A = all, w = the sampler's own, β = 1 is backpropagation through the whole sampler, to the last digit. Decoder and
reward are done with before the first step, and only one step's graph exists at a time: memory does not grow with A.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from training import interpolants
from training.contracts import Conditioning, Policy, PromptBatch, Report, Reward
from training.interpolants import expand
from training.methods._direct import WordedReward
from training.randomness import Rng
from training.rollout import sampler_grid, trajectory
from training.schedules import Level

TINY = 1e-30  # keeps a ratio of two zeros a number


@dataclass(frozen=True)
class Path:
    """A finished rollout of B samples on the axis where every family's deterministic sampler is Euler's.

    y = x / (alpha + sigma) = (1 - s) x0 + s noise at s = sigma / (alpha + sigma), so y' = y + (s' - s) v with the
    velocity v = noise - x0. On a flow y = x; on a DDPM family this is DDIM (eta = 0), without the huge weights of early
    steps that x / alpha would bring. Steps are counted from the noise, 0 … T - 1; a step argument is [B] int64.
    """

    policy: Policy
    conditioning: Conditioning
    guidance_scale: float  # of the calls that carry gradient
    levels: Level  # [T + 1]
    states: Tensor  # y, [T + 1, B, ...], no gradient

    @property
    def length(self) -> int:
        """T."""
        return len(self.states) - 1

    @property
    def sigmas(self) -> Tensor:
        """s of every state as the network knows it, [T + 1] float64, falling to 0."""
        return self.levels.sigma.double() / scale_of(self.levels)

    @property
    def widths(self) -> Tensor:
        """The sampler's weights s' - s, [T], not above 0."""
        return self.sigmas.diff()

    @property
    def picture(self) -> Tensor:
        """The clean latents [B, ...] at the end."""
        return self.states[-1]

    def level(self, step: Tensor) -> Level:
        """[B]."""
        return Level(self.levels.alpha[step], self.levels.sigma[step], self.levels.timestep[step])

    def state(self, step: Tensor) -> Tensor:
        """y [B, ...], each sample at its own step."""
        return self.states[step, torch.arange(len(step), device=step.device)].clone()

    def velocity(self, step: Tensor) -> Tensor:
        """v [B, ...] as the rollout saw it: the way to the next lower level (a DDPM family may stand on one twice)."""
        following = (self.sigmas < self.sigmas[step, None]).float().argmax(dim=1)
        way = self.state(following) - self.state(step)
        return way / expand(self.sigmas[following] - self.sigmas[step], way).to(way.dtype)

    def replay(self, step: Tensor, state: Tensor) -> Tensor:
        """v [B, ...] at y = `state`, one network call with gradient."""
        level = self.level(step)
        x_t = expand(scale_of(level), state).to(state.dtype) * state
        estimate = self.policy.predict(x_t, level, self.conditioning, self.guidance_scale)
        return interpolants.to_velocity(estimate, level.alpha, level.sigma)

    def leap(self, nodes: Tensor, weights: Tensor) -> Tensor:
        """y at the first node + Σ w v over nodes, [n, B] each: where a straight line of that length would end."""
        velocities = torch.stack([self.velocity(node) for node in nodes])
        return self.state(nodes[0]) + (expand(weights, velocities).to(velocities.dtype) * velocities).sum(dim=0)

    def distance(self, step: Tensor, guess: Tensor) -> Tensor:
        """mean |x - guess| per sample, [B], with `guess` a y of that step: how far a leap lands from the path."""
        return scale_of(self.level(step)) * (self.state(step) - guess).abs().flatten(1).mean(dim=1)


def scale_of(level: Level) -> Tensor:
    """x / y = alpha + sigma, float64 as all weights are: 1 on a flow, 1 to 1.4 on a DDPM family."""
    return level.alpha.double() + level.sigma.double()


@dataclass(frozen=True)
class Active:
    """The steps that carry gradient, in rising order for each sample; all [K, B]. A step of weight 0 trains nothing."""

    steps: Tensor
    weights: Tensor
    bridges: Tensor | None = None  # β; None: every input is detached


def last_steps(path: Path, count: int) -> Active:
    """The end of the sampler itself, whole: the last `count` steps of all samples."""
    steps = torch.arange(path.length - count, path.length, device=path.states.device)
    steps = steps[:, None].expand(-1, path.states.shape[1])
    return Active(steps, path.widths[steps], torch.ones_like(steps))


def draw_two_steps(rng: Rng, length: int) -> tuple[Tensor, Tensor]:
    """Two distinct steps of 0 … length - 1, [B] each, all pairs alike; the earlier first."""
    one, other = rng.integer("step.one", 0, length - 1), rng.integer("step.other", 0, length - 2)
    other = other + (other >= one).long()
    return torch.minimum(one, other), torch.maximum(one, other)


def draw_late(shares: Tensor, start: Tensor, stop: Tensor, count: Tensor, bias: float) -> Tensor:
    """`count` of the steps start ≤ i < stop [B] without replacement, P(i) ∝ (i - start + 1)^bias, as a mask [B, T].

    shares: uniform [B, T]. The steps of largest log(share) / weight are such a draw (Efraimidis and Spirakis, 2006).
    """
    step = torch.arange(shares.shape[1], device=shares.device)
    inside = (step >= start[:, None]) & (step < stop[:, None])
    weight = (step - start[:, None] + 1).clamp(min=1).double() ** bias
    keys = torch.where(inside, shares.double().clamp(min=TINY).log() / weight, -torch.inf)
    rank = keys.argsort(dim=1, descending=True).argsort(dim=1)
    return inside & (rank < count[:, None])


def trust(leap_error: Tensor, end_error: Tensor, floor: float | None) -> Tensor:
    """1 / (max(d_j, τ) + max(d_0, τ)), [B], in (0, 1 / 2τ]; 1 without a floor (arXiv:2604.15311, eq. 13)."""
    if floor is None:
        return torch.ones_like(leap_error)
    return 1 / (leap_error.clamp(min=floor) + end_error.clamp(min=floor))


@dataclass(frozen=True)
class Verdict:
    """What the reward says of a picture: the loss, its gradient to the latents [B, ...], numbers to log."""

    loss: Tensor
    gradient: Tensor
    metrics: Mapping[str, Tensor]


class TrajectoryReward(WordedReward):
    """Settings and steps common to methods that train several steps of a rollout."""

    margin: float | None = Field(
        default=None, description="relu(margin - reward): satisfied pictures stop pulling; empty: never."
    )
    loss_scale: float = Field(default=1.0, gt=0, description="Weight of the reward loss.")

    def walk(self, policy: Policy, batch: PromptBatch, rng: Rng) -> Path:
        """The rollout, without gradient; every state stays known."""
        sigmas = sampler_grid(policy, self.rollout_steps, self.shift)
        noise = rng.normal("noise", policy.latent_shape)
        states = torch.stack(
            trajectory(policy, noise, batch.conditioning, sigmas, self.rollout_guidance_scale)
        )  # [T + 1, B, ...]
        levels = policy.schedule.level(sigmas.to(states.device))
        straight = states / expand(scale_of(levels), states).to(states.dtype)
        return Path(policy, batch.conditioning, self.guidance_scale, levels, straight)

    def unhappiness(self, score: Tensor) -> Tensor:
        """What is minimised, [B], of scores [B]."""
        return self.loss_scale * (-score if self.margin is None else torch.relu(self.margin - score))

    def judge(
        self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng, picture: Tensor, trust: Tensor | None = None
    ) -> Verdict:
        """The reward of clean latents and its gradient; `trust` [B] weighs the samples."""
        leaf = picture.detach().requires_grad_()
        score = self.preference_score(policy, reward, leaf, self.preference_target(reward, batch), rng)
        each = self.unhappiness(score)
        loss = (each if trust is None else trust.to(each.dtype) * each).mean()
        (gradient,) = torch.autograd.grad(loss, leaf)
        score = score.detach()
        active = torch.ones_like(score) if self.margin is None else (score < self.margin).float()
        return Verdict(loss.detach(), gradient, {"reward": score, "active": active, "pull": norms(gradient)})


def sweep(
    path: Path, verdict: Verdict, active: Active, metrics: Mapping[str, Tensor] | None = None
) -> Iterator[Report]:
    """One report per active step, the latest first; their losses sum to the verdict's, their gradients to the formula.

    A report's loss must have gone backward before the next is asked for: the adjoint passes through its graph. Whatever
    factor the caller puts on the losses (an accumulation's share) is taken out of the adjoint again.
    """
    adjoint, count = verdict.gradient, len(active.steps)
    for row in reversed(range(count)):
        step, gain = active.steps[row], active.weights[row].to(adjoint.dtype)
        passes_on = active.bridges is not None and row > 0
        state = path.state(step).requires_grad_(passes_on)
        push = expand(gain, adjoint) * adjoint
        surrogate = (push * path.replay(step, state)).sum()
        loss = verdict.loss / count + (surrogate - surrogate.detach())
        factors: list[Tensor] = []
        products: list[Tensor] = []
        if passes_on:
            loss.register_hook(factors.append)
            state.register_hook(products.append)
        log = {
            "sigma": path.sigmas[step],
            "gain": gain.abs(),
            "adjoint": norms(adjoint) / norms(verdict.gradient).clamp(min=TINY),
            "push": norms(push),
        }
        yield Report(loss, {**verdict.metrics, **(metrics or {}), **log})
        if active.bridges is not None and passes_on:
            adjoint = adjoint + expand(active.bridges[row], adjoint).to(adjoint.dtype) * products[0] / factors[0]


def norms(tensor: Tensor) -> Tensor:
    """The length of each sample, [B]."""
    return tensor.flatten(1).norm(dim=1)
