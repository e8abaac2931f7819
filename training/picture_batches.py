"""Pairs, photos and likes to batches: their prompts encoded as any other, their pictures as latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toolkit.pairs import Kind, Like, Pair, Photo, Picture
from toolkit.words import WordPair
from training.batches import Batches, Item
from training.contracts import Conditioning, LikeBatch, PairBatch, PhotoBatch, PromptBatch
from training.latent_cache import focus
from training.randomness import Rng

Encode = Callable[[Sequence[str]], Conditioning]
Latents = Callable[[Sequence[Picture]], Tensor]


class PictureBatches(Batches[Item]):
    """Micro-batches of finished pictures, a share of them under the empty prompt."""

    def __init__(
        self,
        items: Sequence[Item],
        words: Sequence[WordPair],
        encode: Encode,
        latents: Latents,
        *,
        prompt_dropout: float = 0.0,
        nothing: Callable[[], Conditioning] = dict,
        **options: Any,
    ) -> None:
        """latents: pictures → [B, *latent_shape]; nothing: the empty prompt's conditioning, [1, …].

        Other options as for any batches.
        """
        super().__init__(items, words, encode, **options)
        self._latents, self._prompt_dropout, self._nothing = latents, prompt_dropout, nothing

    def micro_batch(self, update: int, micro: int) -> tuple[PromptBatch, Rng]:
        """The batch of this process and its randomness; both sides of a pair keep or lose their prompt together."""
        batch, rng = super().micro_batch(update, micro)
        if not self._prompt_dropout:
            return batch, rng
        dropped, nothing = rng.uniform("prompt dropout") < self._prompt_dropout, self._nothing()
        conditioning = {
            name: torch.where(dropped.reshape(-1, *[1] * (value.ndim - 1)), nothing[name].to(value), value)
            for name, value in batch.conditioning.items()
        }
        return replace(batch, conditioning=conditioning), rng


class PhotoBatches(PictureBatches[Photo]):
    """Micro-batches of photos."""

    def _batch(self, items: list[Photo], words: list[WordPair]) -> PhotoBatch:
        return PhotoBatch(**self._fields(items, words))

    def _fields(self, items: list[Photo], words: list[WordPair]) -> dict[str, Any]:
        prompts = [item.prompt for item in items]
        return {
            "prompts": prompts,
            "conditioning": self._encode(prompts),
            "words": words,
            "latents": self._latents([item.picture for item in items]),
            "weights": torch.tensor([item.weight for item in items], device=self._device),
        }


class LikeBatches(PhotoBatches):
    """Micro-batches of pictures judged one by one."""

    def _batch(self, items: list[Photo], words: list[WordPair]) -> LikeBatch:
        liked = torch.tensor([isinstance(item, Like) and item.liked for item in items], device=self._device)
        return LikeBatch(**self._fields(items, words), liked=liked)


class PairBatches(PictureBatches[Pair]):
    """Micro-batches of pairs. Scores are spread over [0, 1] by the whole set's lowest and highest."""

    def __init__(self, items: Sequence[Pair], *arguments: Any, **options: Any) -> None:
        """Other arguments as for any pictures."""
        super().__init__(items, *arguments, **options)
        known = [score for item in items for score in item.scores or ()]
        self._lowest, self._spread = (min(known), max(known) - min(known)) if known else (0.0, 0.0)

    def _batch(self, items: list[Pair], words: list[WordPair]) -> PairBatch:
        prompts = [item.prompt for item in items]
        chosen = self._latents([item.chosen for item in items])
        return PairBatch(
            prompts,
            self._encode(prompts),
            words,
            chosen=chosen,
            rejected=self._latents([item.rejected for item in items]),
            weights=torch.tensor([item.weight for item in items], device=self._device),
            margins=torch.tensor([item.margin for item in items], device=self._device),
            scores=torch.tensor([self._share(item) for item in items], device=self._device),
            focus=self._focus([item.mask for item in items], chosen),
        )

    def _focus(self, masks: list[Picture | None], latents: Tensor) -> Tensor | None:
        """Of a batch without masks none; of a pair without one, 1 everywhere."""
        if not any(masks):
            return None
        grid = (latents.shape[-2], latents.shape[-1])
        each = torch.stack([focus(mask, grid) if mask else torch.ones(grid) for mask in masks])
        return each.reshape(len(masks), *[1] * (latents.ndim - 3), *grid).to(self._device)

    def _share(self, item: Pair) -> list[float]:
        if item.scores is None or not self._spread:
            return [0.5, 0.5]
        return [(score - self._lowest) / self._spread for score in item.scores]


BATCHES: dict[Kind, Any] = {"pairs": PairBatches, "photos": PhotoBatches, "likes": LikeBatches}


def placeholder(kind: Kind, prompt: str) -> Pair | Photo:
    """An item of that kind without a picture behind it, for a rehearsal."""
    nowhere = Picture(Path())
    return Pair(prompt, nowhere, nowhere) if kind == "pairs" else Like(prompt, nowhere)
