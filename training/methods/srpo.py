"""SRPO: Direct-Align with a reward that is only the difference two words make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from toolkit.words import positive_and_negative
from training import interpolants
from training.contracts import Policy, PromptBatch, Report, Reward
from training.methods._branches import EDGE, Branch, Branches
from training.methods._direct import CleanStart, recover_error
from training.randomness import Rng
from training.schedules import Level


class Srpo(CleanStart, Branches):
    """Semantic Relative Preference Optimization (arXiv:2509.06942), with inversion-based regularisation."""

    needs: ClassVar[frozenset[str]] = frozenset({"differentiable", "text_conditioned", "words"})

    shift: float | None = Field(
        default=3.0, gt=0, le=100, description="Shift of the rollout's noise levels (3 for FLUX)."
    )
    guidance_scale: float = Field(default=3.5, ge=0, le=50, description="Guidance of the call that carries gradient.")
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

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Report]:
        """One report for both branches together, or one each."""
        noise = rng.normal("noise", policy.latent_shape, shared=self.shared_noise)
        x0 = self.clean(policy, noise, batch, rng)
        known = noise if self.noise_coupling == "rollout" else rng.normal("known", policy.latent_shape)
        drawn = self.draw_branches(rng.integer("level", EDGE, self.levels - EDGE))
        for group in [drawn] if self.branches == "batched" else [[branch] for branch in drawn]:
            yield self._report(policy, reward, batch, rng, x0, known, group)

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
