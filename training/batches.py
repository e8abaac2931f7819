"""Prompts to batches: which sample an update sees, on which process, with which words. A pure function of the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.words import WordPair
from training.contracts import Conditioning, PromptBatch
from training.randomness import Rng, key


@dataclass(frozen=True)
class Sharding:
    """Where this process stands among all of them."""

    rank: int = 0
    processes: int = 1


class PromptBatches:
    """Micro-batches of prompts. Sample number i of an update is the same whatever the number of processes."""

    def __init__(
        self,
        prompts: Sequence[str],
        words: Sequence[WordPair],
        encode: Callable[[Sequence[str]], Conditioning],
        *,
        batch_size: int,
        accumulation: int,
        seed: int,
        sharding: Sharding = Sharding(),
        device: torch.device | None = None,
    ) -> None:
        """prompts: at least one; words: may be empty for methods that need none."""
        self._prompts, self._words, self._encode = list(prompts), list(words), encode
        self._batch_size, self._accumulation, self._seed = batch_size, accumulation, seed
        self._sharding, self._device = sharding, device or torch.device("cpu")

    def micro_batch(self, update: int, micro: int) -> tuple[PromptBatch, Rng]:
        """The batch of this process and its randomness."""
        first = (micro * self._sharding.processes + self._sharding.rank) * self._batch_size
        indices = tuple(range(first, first + self._batch_size))
        per_update = self._accumulation * self._sharding.processes * self._batch_size
        prompts = [self._prompt_at(update * per_update + index) for index in indices]
        rng = Rng(self._seed, update, indices, self._device)
        words = self._draw_words(rng.uniform("words")) if self._words else []
        return PromptBatch(prompts, self._encode(prompts), words), rng

    def _prompt_at(self, number: int) -> str:
        """Every epoch walks all prompts once in its own order."""
        epoch, place = divmod(number, len(self._prompts))
        generator = torch.Generator().manual_seed(key(self._seed, "epoch", epoch))
        return self._prompts[int(torch.randperm(len(self._prompts), generator=generator)[place])]

    def _draw_words(self, shares: Tensor) -> list[WordPair]:
        edges = torch.tensor([pair.weight for pair in self._words]).cumsum(0)
        picks = torch.bucketize(shares.cpu() * edges[-1], edges, right=True)
        return [self._words[min(int(pick), len(self._words) - 1)] for pick in picks]
