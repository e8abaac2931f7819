"""Renders the validation prompts with fixed seeds and measures what the guards and the choice of checkpoint need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from toolkit.prompts import Prompt
from toolkit.words import WordPair, positive_and_negative
from training import clips, measures
from training.contracts import Conditioning, Policy, Reward
from training.randomness import Rng
from training.rollout import sample

VALIDATION = "validation"  # the randomness of validation pictures is nobody else's


class Renderer:
    """Pictures of fixed prompts at fixed seeds, whatever else happens."""

    def __init__(
        self,
        policy: Policy,
        encode: Callable[[Sequence[str]], Conditioning],
        *,
        steps: int,
        guidance_scale: float,
        seed: int,
        purpose: str,
        batch_size: int,
    ) -> None:
        """purpose separates the seeds of validation, report and samples from each other; batch_size: pictures at once.

        Each picture has its own noise, so that the batch size moves nothing but its last bits.
        """
        self._policy, self._encode = policy, encode
        self._steps, self._guidance_scale = steps, guidance_scale
        self._seed, self._purpose = seed, purpose
        self._batch = batch_size if len(policy.latent_shape) == 3 else 1  # one clip is as large as many pictures

    def __call__(self, prompts: Sequence[str], number: int = 0) -> Tensor:
        """Pictures [B, 3, H, W] or clips [B, F, 3, H, W] on the CPU; `number` counts the seeds per prompt."""
        return torch.cat([self._render(prompts, start, number) for start in range(0, len(prompts), self._batch)])

    @torch.no_grad()
    def _render(self, prompts: Sequence[str], start: int, number: int) -> Tensor:
        chunk = list(prompts[start : start + self._batch])
        indices = tuple(range(start, start + len(chunk)))
        noise = Rng(self._seed, number, indices, self._policy.device).normal(self._purpose, self._policy.latent_shape)
        latents = sample(
            self._policy, noise, self._encode(chunk),
            steps=self._steps, guidance_scale=self._guidance_scale,
        )  # fmt: skip
        return self._policy.decode(latents).float().cpu()


class Panel:
    """Scores and statistics of pictures that show `prompts`, each under its word pair."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        words: Sequence[WordPair],
        scorers: dict[str, Any],
        among: Sequence[Prompt] = (),
        device: torch.device | None = None,
    ) -> None:
        """scorers: name → reward on `device`; one named "second" also gives recall, diversity and distance.

        Recall looks for a picture's subject among those of `prompts` and of `among`.
        """
        self._device = device or torch.device("cpu")
        self._prompts = list(prompts)
        self.scorers = scorers
        self._subjects = sorted({prompt.subject for prompt in (*prompts, *among)})
        self._pairs = [words[i % len(words)] for i in range(len(prompts))] if words else []
        self._base_features: Tensor | None = None

    @torch.no_grad()
    def measure(self, images: Tensor, scores: dict[str, Tensor] | None = None) -> dict[str, float]:
        """images [seeds · prompts, 3, H, W] or as many clips, all prompts of one seed together; first the base's.

        scores: what `scores` gave for these images, where that is known already.
        """
        images = images.to(self._device)
        frames = clips.frames(images)
        values = {
            "saturation": measures.saturation(frames).mean(),
            "brightness": measures.brightness(frames).mean(),
            "clipped": measures.clipped(frames).mean(),
            "texture": measures.texture(frames).mean(),
        }
        for name, each in (scores or self.scores(images)).items():
            values[name] = each.mean()
        second = self.scorers.get("second")
        if second is not None and hasattr(second, "embed_images"):
            values |= self._feature_values(second, images)
        if self._pairs and hasattr(self.scorers.get("reward"), "embed_texts"):
            values["words"] = measures.word_cosine(self.scorers["reward"].target(self._texts()))
        return {name: float(value) for name, value in values.items()}

    @torch.no_grad()
    def scores(self, images: Tensor) -> dict[str, Tensor]:
        """Every scorer's `relative` on its device, [B] each; images as for `measure`."""
        images = images.to(self._device)
        return {name: self.relative(scorer, images) for name, scorer in self.scorers.items()}

    def relative(self, scorer: Reward, images: Tensor) -> Tensor:
        """Positive minus negative word's score per picture or clip, [B]; without words, the prompt's own score."""
        times = len(images) // len(self._prompts)
        if not self._pairs:
            return scorer.score(images, scorer.target([[p.text] for p in self._prompts] * times))[:, 0]
        scores = scorer.score(images, scorer.target(self._texts() * times))
        return scores[:, 0] - scores[:, 1]

    def _texts(self) -> list[list[str]]:
        return positive_and_negative([prompt.text for prompt in self._prompts], self._pairs)

    def _feature_values(self, second: Any, images: Tensor) -> dict[str, Tensor]:
        features = second.embed_images(images)
        if self._base_features is None:
            self._base_features = features
        times = len(images) // len(self._prompts)
        wanted = torch.tensor([self._subjects.index(prompt.subject) for prompt in self._prompts] * times)
        return {
            "recall": measures.recall(features, second.embed_texts(self._subjects), wanted.to(features.device)),
            "diversity": measures.diversity(features),
            "distance": 1 - (features * self._base_features).sum(dim=1).mean(),
        }
