"""Plain fine-tuning on photos: the baseline that any method which learns from pictures has to beat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from training.contracts import PhotoBatch, Policy, Report, Reward
from training.methods._denoising import Denoising, by_level, mean_square, noised
from training.randomness import Rng


class Sft(Denoising):
    """Supervised fine-tuning: the denoising loss that the base was trained with, on pictures with captions."""

    needs: ClassVar[frozenset[str]] = frozenset({"photos"})

    def losses(self, policy: Policy, reward: Reward, batch: PhotoBatch, rng: Rng) -> Iterator[Report]:
        """One report."""
        drawn = self.draw(policy, rng)
        view = noised(batch.latents, rng.normal("noise", policy.latent_shape), drawn.level)
        miss, _ = self.miss(policy, view, drawn.level, batch.conditioning)
        error = mean_square(miss)
        numbers = {"error": error.detach()}
        yield Report((batch.weights * error).mean(), numbers | by_level(drawn.sigma, numbers) | {"sigma": drawn.sigma})
