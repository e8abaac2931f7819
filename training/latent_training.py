"""`python -m training train-latent`: a latent reward from preference pairs, by contrast at many noise levels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import softplus
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from toolkit import pairs
from toolkit.recipe import Recipe
from training import build, interpolants, measures
from training.contracts import PairBatch
from training.held_out import held_out
from training.latent_reward import BINS, LatentReward
from training.randomness import Rng

GLANCES = 2  # noises per pair and noise level when scores are looked at
SCALED_BY = 16  # batches that tell how large scores are


class LatentTraining(BaseModel):
    """How a latent reward is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["thurstone", "bradley_terry"] = Field(
        default="thurstone",
        description="thurstone: errors count less where noise hides the answer; bradley_terry: alike at every level.",
    )
    steps: int = Field(default=600, ge=1, le=1_000_000, description="Optimizer steps.")
    batch_size: int = Field(default=16, ge=1, le=4096, description="Pairs per step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="AdamW; warm-up in the first tenth.")
    width: int = Field(default=64, ge=8, le=1024, multiple_of=8, description="Channels of the head.")
    sigma_high: float = Field(default=0.95, gt=0, lt=1, description="Noisiest level trained; levels are drawn evenly.")
    share_noise: bool = Field(
        default=True, description="One noise for both pictures of a pair: the loss varies less. Checks never share."
    )
    consistency: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="Weight of agreeing with its score of the same picture at half the noise.",
    )
    text_contrast: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="Weight of preferring the chosen picture under its own prompt to another.",
    )


def thurstone(difference: Tensor, sigma: Tensor) -> Tensor:
    """Fidelity loss 1 - sqrt(p), p = Φ(difference / sqrt(2 u)), u = 2 σ² + 0.05 the variance of one score; [B].

    Source: the released code of DiNa-LRM (arXiv:2602.11146).
    """
    variance = 2 * sigma.square() + 0.05
    return 1 - (torch.special.log_ndtr(difference / (2 * variance).sqrt()) / 2).exp()


def bradley_terry(difference: Tensor, sigma: Tensor) -> Tensor:
    """-log sigmoid(difference), [B]."""
    return softplus(-difference)


LOSSES = {"thurstone": thurstone, "bradley_terry": bradley_terry}


class LatentTrainer:
    """Steps of a reward's training, and what it is worth in the end."""

    def __init__(self, policy: Any, settings: LatentTraining, *, seed: int) -> None:
        """policy: the frozen base."""
        self.policy, self.settings = policy, settings
        self.reward = LatentReward(policy.latent_shape[0], settings.width, seed=seed).to(policy.device)
        self.reward.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(self.reward.parameters(), lr=settings.learning_rate, weight_decay=0.01)
        self.warmup = torch.optim.lr_scheduler.LinearLR(
            self.optimizer, start_factor=0.01, total_iters=max(1, settings.steps // 10)
        )
        self.average = AveragedModel(self.reward, multi_avg_fn=get_ema_multi_avg_fn(0.995), use_buffers=True)

    def step(self, batch: PairBatch, rng: Rng) -> float:
        """One optimizer step; the loss."""
        size = len(batch.prompts)
        places = torch.arange(size, device=self.policy.device)
        sigma = self.settings.sigma_high * (places + rng.uniform("level")) / size  # one level from each equal part
        loss = self.loss(batch, sigma, rng)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.reward.parameters(), 1.0)
        self.optimizer.step()
        self.warmup.step()
        self.average.update_parameters(self.reward)
        return float(loss.detach())

    def loss(self, batch: PairBatch, sigma: Tensor, rng: Rng) -> Tensor:
        """Over a batch of pairs at levels sigma [B]."""
        noise = rng.normal("noise", self.policy.latent_shape)
        other = noise if self.settings.share_noise else rng.normal("noise.rejected", self.policy.latent_shape)
        chosen, rejected = self.scores(batch, sigma, noise, other)
        each = LOSSES[self.settings.loss](chosen - rejected, sigma)
        if self.settings.consistency:
            cleaner = self.scores(batch, sigma / 2, noise, other)
            for now, before in zip((chosen, rejected), cleaner, strict=True):
                each = each + self.settings.consistency * (now - before.detach()).square()
        if self.settings.text_contrast and len(batch.prompts) > 1:
            others = {name: value.roll(1, dims=0) for name, value in batch.conditioning.items()}
            misread = self.one(batch.chosen, sigma, noise, others)
            each = each + self.settings.text_contrast * softplus(misread - chosen)
        return (batch.weights * each).mean()

    def scores(self, batch: PairBatch, sigma: Tensor, noise: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Of the chosen and of the rejected pictures, each under its noise, [B] each."""
        sides = ((batch.chosen, noise), (batch.rejected, other))
        chosen, rejected = (self.one(x0, sigma, eps, batch.conditioning) for x0, eps in sides)
        return chosen, rejected

    def one(self, x0: Tensor, sigma: Tensor, noise: Tensor, conditioning: Any) -> Tensor:
        """Scores [B] of pictures with noise mixed in; gradient to the reward's weights alone."""
        level = self.policy.schedule.level(sigma)
        x_t = interpolants.interpolate(x0, noise, level.alpha, level.sigma)
        with torch.no_grad(), self.policy.as_reference():
            estimate = self.policy.predict(x_t, level, conditioning)
        return self.reward(x_t, estimate, level)

    def finish(self, known: Any, unknown: Any, counts: tuple[int, int]) -> LatentReward:
        """The averaged reward, its scores brought to about 0 ± 1, with its accuracy on pairs that it never saw.

        known, unknown: batches of pairs, and how many of each are looked at.
        """
        self.reward.load_state_dict(self.average.module.state_dict())
        self.reward.eval().requires_grad_(False)
        scores = torch.cat([torch.cat(sides) for _, *sides in self._looks(known, counts[0])])
        self.reward.mean.copy_(scores.mean())
        self.reward.std.copy_(scores.std().clamp(min=1e-6))
        right: dict[float, list[Tensor]] = {sigma: [] for sigma in BINS}
        for sigma, chosen, rejected in self._looks(unknown, counts[1]):
            right[sigma].append(measures.wins(chosen - rejected))
        self.reward.accuracy.copy_(torch.stack([torch.cat(right[sigma]).mean() for sigma in BINS]))
        return self.reward

    @torch.no_grad()
    def _looks(self, batches: Any, count: int) -> Iterator[tuple[float, Tensor, Tensor]]:
        """(level, chosen, rejected) of the first `count` batches at every level of BINS.

        Each side under its own noise: a shared one cancels out of the difference, and even a reward that the noise
        drowns would seem to be right.
        """
        for number in range(count * GLANCES):
            batch, rng = batches.micro_batch(number, 0)
            for sigma in BINS:
                noise, other = (rng.normal(f"{side}.{sigma}", self.policy.latent_shape) for side in ("look", "other"))
                yield sigma, *self.scores(batch, torch.full((len(batch.prompts),), sigma).to(noise), noise, other)


def train(recipe: Recipe, source: str, output: Path, settings: LatentTraining) -> dict[str, Any]:
    """Train on pairs with the recipe's base and seed, write `output`, and return what its header says.

    Raises UsageError where the pairs are not usable, or too few to keep some for the check.
    """
    found, seed = pairs.read("pairs", source).kept, recipe.training.seed
    sides = held_out(found, lambda item: item.prompt, seed=seed)
    stage = build.stage(recipe, build.best_device())
    stage.encode.prepare(item.prompt for item in found)
    stage.policy.release_text()
    sizes = [min(settings.batch_size, len(side)) for side in sides]
    batches: list[Any] = [
        build.batches_of("pairs", side, recipe, stage, batch_size=size, accumulation=1)
        for side, size in zip(sides, sizes, strict=True)
    ]
    trainer = LatentTrainer(stage.policy, settings, seed=seed)
    for number in range(settings.steps):
        trainer.step(*batches[0].micro_batch(number, 0))
    learned, checked = (-(-len(side) // size) for side, size in zip(sides, sizes, strict=True))
    reward = trainer.finish(*batches, counts=(min(learned, SCALED_BY), checked))
    facts = {
        "base": stage.policy.base_name,
        "pairs": pairs.fingerprint(source)[:16],
        "learned": len(sides[0]),
        "held_out": len(sides[1]),
        "accuracy": {str(sigma): round(float(share), 4) for sigma, share in zip(BINS, reward.accuracy, strict=True)},
        "settings": settings.model_dump(),
        "seed": seed,
    }
    reward.save(output, facts)
    return facts
