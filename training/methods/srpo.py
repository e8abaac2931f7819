"""SRPO: Direct-Align with a reward that is only the difference two words make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from toolkit.words import positive_and_negative
from training import interpolants
from training.contracts import Policy, PromptBatch, Report, Reward
from training.methods._direct import CleanStart, recover_error
from training.randomness import Rng
from training.schedules import Level

EDGE = 5  # the published code draws m in {5, …, T - 5}


@dataclass(frozen=True)
class Branch:
    """One network call: from noise level `sigma_in` [B] to `target` [B], scored with `weights` [B, 2] on (pos, neg)."""

    name: str
    sigma_in: Tensor
    target: Tensor
    weights: Tensor
    share: float


class Srpo(CleanStart):
    """Semantic Relative Preference Optimization (arXiv:2509.06942), with inversion-based regularisation.

    Levels and discounts follow the published FLUX recipe, labelled by sigma instead of by index: "early" is the noisy
    end of the trained range, "late" the clean end.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"differentiable", "text_conditioned", "words"})

    shift: float | None = Field(
        default=3.0, gt=0, le=100, description="Shift of the rollout's noise levels (3 for FLUX)."
    )
    guidance_scale: float = Field(default=3.5, ge=0, le=50, description="Guidance of the call that carries gradient.")
    sigma_low: float = Field(default=0.75, gt=0, lt=1, description="Late (clean) end of the trained noise levels.")
    sigma_high: float = Field(
        default=27 / 28, gt=0, le=0.97, description="Early (noisy) end; above 0.97 structure breaks."
    )
    levels: int = Field(default=1000, ge=12, le=100_000, description="Length T of the grid of trained levels.")
    known_share: float = Field(
        default=0.9, ge=0, lt=1, description="Share q of the injected noise that stays known; step = (1 - q) T."
    )
    inversion: float = Field(
        default=1.0, ge=0, le=4, description="Weight of the inversion branch, the regulariser; 0 turns it off."
    )
    form: Literal["code", "paper"] = Field(
        default="code",
        description="Relative reward: (1+k) pos - neg (released code) or k pos + (1-k) neg (paper, eq. 10).",
    )
    positive_early: float = Field(default=0.25, ge=-2, le=2, description="k of the denoise branch at the noisy end.")
    positive_late: float = Field(default=0.1, ge=-2, le=2, description="k of the denoise branch at the clean end.")
    inversion_early: float = Field(default=0.01, ge=-2, le=2, description="k of the inversion branch at the noisy end.")
    inversion_late: float = Field(default=0.3, ge=-2, le=2, description="k of the inversion branch at the clean end.")
    margin: float | None = Field(default=0.7, description="relu(margin - reward); empty: the reward itself.")
    recover: Literal["code", "paper"] = Field(
        default="code", description="Divide by the target level's alpha (code) or the input's (eq. 5)."
    )
    noise_coupling: Literal["rollout", "fresh"] = Field(
        default="rollout", description="Noise mixed back in: the rollout's own or fresh."
    )
    shared_noise: bool = Field(
        default=False, description="One starting noise for all samples of an update, as in the released code."
    )
    branches: Literal["batched", "sequential"] = Field(
        default="batched", description="sequential halves the memory; same gradient."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Srpo:
        if self.sigma_low >= self.sigma_high:
            raise ValueError("sigma_low < sigma_high must hold")
        return self

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Report]:
        """One report for both branches together, or one each."""
        noise = rng.normal("noise", policy.latent_shape, shared=self.shared_noise)
        x0 = self.clean(policy, noise, batch, rng)
        known = noise if self.noise_coupling == "rollout" else rng.normal("known", policy.latent_shape)
        drawn = self.draw_branches(rng.integer("level", EDGE, self.levels - EDGE))
        for group in [drawn] if self.branches == "batched" else [[branch] for branch in drawn]:
            yield self._report(policy, reward, batch, rng, x0, known, group)

    def draw_branches(self, m: Tensor) -> list[Branch]:
        """The denoise and the inversion branch at grid position m [B]; both recover at the same level."""
        size = self.levels
        grid = torch.linspace(self.sigma_high, self.sigma_low, size, device=m.device)  # entry 0 is the noisiest
        width = torch.minimum(torch.minimum(size - m, m), torch.tensor(self.step_in_grid(), device=m.device))
        target = grid[size - m]
        early = m / (size - 1)
        k_denoise = self.positive_late + (self.positive_early - self.positive_late) * early
        k_invert = self.inversion_late + (self.inversion_early - self.inversion_late) * (m - width) / (size - 1)
        denoise = Branch("denoise", grid[size - m - width], target, self._weights(k_denoise), 0.5)
        cleaner = (size - m + width).clamp(max=size - 1)
        invert = Branch("inversion", grid[cleaner], target, self._weights(k_invert).flip(1), 0.5 * self.inversion)
        return [denoise, invert] if self.inversion > 0 else [denoise]

    def step_in_grid(self) -> int:
        """κ = int((1 - q) T) + 1 grid entries between input and target (100 for q = 0.9, T = 1000, as released)."""
        return int((1 - self.known_share) * self.levels) + 1

    def _weights(self, k: Tensor) -> Tensor:
        """Weights of the (wanted, unwanted) word's reward, [B, 2]."""
        pair = (1 + k, -torch.ones_like(k)) if self.form == "code" else (k, 1 - k)
        return torch.stack(pair, dim=1)

    def _report(
        self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng,
        x0: Tensor, known: Tensor, group: Sequence[Branch],
    ) -> Report:  # fmt: skip
        times = len(group)
        sigma_in = policy.schedule.level(torch.cat([branch.sigma_in for branch in group]))
        to = policy.schedule.level(torch.cat([branch.target for branch in group]))
        clean, noise = torch.cat([x0] * times), torch.cat([known] * times)
        conditioning = {name: torch.cat([value] * times) for name, value in batch.conditioning.items()}

        x_in = interpolants.interpolate(clean, noise, sigma_in.alpha, sigma_in.sigma)
        estimate = policy.predict(x_in, sigma_in, conditioning, self.guidance_scale)
        recovered = self._recover(estimate, noise, sigma_in, to)
        target = reward.target(positive_and_negative(batch.prompts, batch.words) * times)
        rngs = Rng(rng.seed, rng.update, rng.indices * times, rng.device)
        scores = self.see(policy.decode(recovered), reward, target, rngs)

        loss, metrics = torch.zeros((), device=x0.device), {"recover_error": recover_error(recovered, clean)}
        gains = sigma_in.rho - to.rho if self.recover == "code" else (sigma_in.sigma - to.sigma) / sigma_in.alpha
        for branch, seen, gain in zip(group, scores.chunk(times), gains.chunk(times), strict=True):
            relative = (branch.weights * seen).sum(dim=1)
            unhappy = -relative if self.margin is None else torch.relu(self.margin - relative)
            loss = loss + branch.share * unhappy.mean()
            metrics |= self._metrics(branch, seen.detach(), relative.detach(), gain)
        return Report(loss, metrics)

    def _recover(self, estimate: interpolants.Estimate, noise: Tensor, sigma_in: Level, to: Level) -> Tensor:
        if self.recover == "code":
            return interpolants.recover(estimate, noise, to.alpha, to.sigma)
        return interpolants.recover_at_input_level(estimate, noise, sigma_in.alpha, sigma_in.sigma, to.sigma)

    def _metrics(self, branch: Branch, seen: Tensor, relative: Tensor, gain: Tensor) -> dict[str, Tensor]:
        active = torch.ones_like(relative) if self.margin is None else (relative < self.margin).float()
        values = {"reward": relative, "positive": seen[:, 0], "negative": seen[:, 1], "active": active, "gain": gain}
        values |= {"sigma_in": branch.sigma_in, "sigma": branch.target}
        return {f"{branch.name}.{name}": value for name, value in values.items()}
