"""What methods for preference pairs share: both sides at one level, a logit, and plug-ins that any of them takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from training.alarms import Alarm
from training.contracts import PairBatch, Policy, Report, Reward
from training.measures import wins
from training.methods._denoising import Denoising, Drawn, Metrics, Side, View, by_level, detached, noised
from training.randomness import Rng

DISPLACED = Alarm(
    "gap_chosen", 0.0,
    "The chosen pictures become less likely than the base made them, although the pairs are told apart: pictures will "
    "wash out. Lower the learning rate, raise beta, or set safeguard: 0.8 or sft_weight: 0.1.", rising=True,
)  # fmt: skip
SATURATED = Alarm(
    "logit_p99",
    10.0,
    "The logits are saturated: the pairs are memorised or beta is too large. Lower the learning rate or beta.",
)


@dataclass(frozen=True)
class Sides:
    """The two pictures of B pairs at one level each."""

    chosen: Side
    rejected: Side
    drawn: Drawn
    views: Sequence[View]


class Preference(Denoising):
    """A loss `link(logit)` per pair. The logit compares how far the network moved towards either side."""

    needs: ClassVar[frozenset[str]] = frozenset({"pairs"})
    alarms: ClassVar[tuple[Alarm, ...]] = (DISPLACED, SATURATED)
    with_reference: ClassVar[bool] = True

    beta: float = Field(
        default=500.0,
        gt=0,
        le=1e6,
        description="Pull to the base, times 1/2 in the logit: flow 100 to 2000, noise prediction 2000 to 5000.",
    )
    share_noise: bool = Field(default=True, description="One noise for both pictures of a pair.")
    safeguard: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the chosen side's progress that is kept: 0.6 to 0.9; empty: off.",
    )
    sft_weight: float = Field(default=0.0, ge=0, le=1e4, description="Weight of plain learning from the chosen side.")
    label_smoothing: float = Field(default=0.0, ge=0, le=0.5, description="Share of pairs taken to be swapped.")
    logit_margin: float = Field(default=0.0, ge=0, le=1e4, description="By how much the logit should win.")

    def losses(self, policy: Policy, reward: Reward, batch: PairBatch, rng: Rng) -> Iterator[Report]:
        """One report per side."""
        drawn, views = self._drawn(policy, batch, rng)

        def objective(seen: Sequence[Side]) -> tuple[Tensor, Metrics]:
            chosen, rejected = seen
            return self.objective(Sides(chosen, rejected, drawn, views), batch)

        yield from self.two_phase(
            policy, batch.conditioning, drawn, views, objective, with_reference=self.with_reference
        )  # fmt: skip

    def examine(self, policy: Policy, batch: PairBatch, rng: Rng) -> Metrics:
        """What `losses` would log of these pairs before it goes backward."""
        drawn, views = self._drawn(policy, batch, rng)
        chosen, rejected = self.look(
            policy, batch.conditioning, drawn.level, views, with_reference=self.with_reference
        )  # fmt: skip
        return self.metrics(Sides(chosen, rejected, drawn, views), batch)

    def _drawn(self, policy: Policy, batch: PairBatch, rng: Rng) -> tuple[Drawn, Sequence[View]]:
        drawn = self.draw(policy, rng)
        return drawn, [view._replace(focus=batch.focus) for view in self.views(policy, batch, drawn, rng)]

    def views(self, policy: Policy, batch: PairBatch, drawn: Drawn, rng: Rng) -> Sequence[View]:
        """The chosen and the rejected picture, noised."""
        noise = rng.normal("noise", policy.latent_shape)
        other = noise if self.share_noise else rng.normal("noise.rejected", policy.latent_shape)
        return [noised(batch.chosen, noise, drawn.level), noised(batch.rejected, other, drawn.level)]

    def objective(self, sides: Sides, batch: PairBatch) -> tuple[Tensor, Metrics]:
        """The batch's loss with every plug-in, and what to log."""
        pair, held = self.guarded(sides)
        wanted = self.logits(pair, batch) - self.logit_margin - batch.margins
        each = (1 - self.label_smoothing) * self.link(wanted) + self.label_smoothing * self.link(-wanted)
        loss = (self.shares(pair, batch) * each).sum()
        loss = loss + self.sft_weight * (batch.weights * pair.chosen.error).mean()
        return loss, self.metrics(sides, batch) | held

    def logits(self, sides: Sides, batch: PairBatch) -> Tensor:
        """s = -(β/2) (Δ_chosen - Δ_rejected), [B]."""
        return self.beta / 2 * (sides.rejected.gap - sides.chosen.gap)

    def link(self, logits: Tensor) -> Tensor:
        """-log sigmoid(s), [B]."""
        return softplus(-logits)

    def shares(self, sides: Sides, batch: PairBatch) -> Tensor:
        """What each pair counts in the sum, [B]."""
        return batch.weights / len(batch.weights)

    def guarded(self, sides: Sides) -> tuple[Sides, Metrics]:
        """Diffusion-SDPO (arXiv:2511.03317): the rejected side pushes only as far as the chosen side still gains.

        λ = min(1, (1 - μ) |g_w|² / <g_w, g_l>) where the two gradients by the prediction agree, and 1 elsewhere.
        """
        if self.safeguard is None:
            return sides, {}
        misses = (sides.chosen.miss, sides.rejected.miss)  # focused once more they are the gradients, but for a factor
        chosen, rejected = (v.focused(miss).flatten(1) for v, miss in zip(sides.views, misses, strict=True))
        agreement = (chosen * rejected).sum(dim=1)
        tiny = torch.finfo(agreement.dtype).tiny
        most = (1 - self.safeguard) * chosen.square().sum(dim=1) / agreement.clamp(min=tiny)
        share = torch.where(agreement > 0, most.clamp(max=1), 1.0)
        fixed = sides.rejected.error.detach()
        held = replace(sides.rejected, error=fixed + share * (sides.rejected.error - fixed))
        return replace(sides, rejected=held), {"safeguard": share}

    def metrics(self, sides: Sides, batch: PairBatch) -> Metrics:
        """What to watch of each pair, and some of it by level."""
        chosen, rejected = detached([sides.chosen, sides.rejected])
        logit = self.logits(replace(sides, chosen=chosen, rejected=rejected), batch)
        watched = {
            "accuracy": wins(logit),
            "logit": logit,
            "gap_chosen": chosen.gap,
            "gap_rejected": rejected.gap,
        }
        return by_level(sides.drawn.sigma, watched) | watched | {
            "logit_p99": torch.quantile(logit.abs().float(), 0.99),
            "error_chosen": chosen.error,
            "error_rejected": rejected.error,
            "sigma": sides.drawn.sigma,
        }  # fmt: skip
