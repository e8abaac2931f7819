"""Items to batches: which sample an update sees, on which process, with which words. A pure function of the seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from toolkit.words import WordPair
from training.contracts import Conditioning, PromptBatch
from training.randomness import Rng, shuffled

Item = TypeVar("Item")


@dataclass(frozen=True)
class Sharding:
    """Where this process stands among all of them."""

    rank: int = 0
    processes: int = 1


class Batches(ABC, Generic[Item]):
    """Micro-batches of items. Sample number i of an update is the same whatever the number of processes."""

    def __init__(
        self,
        items: Sequence[Item],
        words: Sequence[WordPair],
        encode: Callable[[Sequence[str]], Conditioning],
        *,
        batch_size: int,
        accumulation: int,
        seed: int,
        sharding: Sharding = Sharding(),
        device: torch.device | None = None,
    ) -> None:
        """items: at least one; words: may be empty for methods that need none."""
        self._items, self._words, self._encode = list(items), list(words), encode
        self._batch_size, self._accumulation, self._seed = batch_size, accumulation, seed
        self._sharding, self._device = sharding, device or torch.device("cpu")

    def micro_batch(self, update: int, micro: int) -> tuple[PromptBatch, Rng]:
        """The batch of this process and its randomness."""
        first = (micro * self._sharding.processes + self._sharding.rank) * self._batch_size
        indices = tuple(range(first, first + self._batch_size))
        per_update = self._accumulation * self._sharding.processes * self._batch_size
        items = [self._item_at(update * per_update + index) for index in indices]
        rng = Rng(self._seed, update, indices, self._device)
        return self._batch(items, self._draw_words(rng.uniform("words")) if self._words else []), rng

    @abstractmethod
    def _batch(self, items: list[Item], words: list[WordPair]) -> PromptBatch:
        """What a method is given of these items."""

    def _item_at(self, number: int) -> Item:
        """Every epoch walks all items once in its own order."""
        epoch, place = divmod(number, len(self._items))
        return self._items[shuffled(len(self._items), self._seed, "epoch", epoch)[place]]

    def _draw_words(self, shares: Tensor) -> list[WordPair]:
        edges = torch.tensor([pair.weight for pair in self._words]).cumsum(0)
        picks = torch.bucketize(shares.cpu() * edges[-1], edges, right=True)
        return [self._words[min(int(pick), len(self._words) - 1)] for pick in picks]


class PromptBatches(Batches[str]):
    """Micro-batches of prompts."""

    def _batch(self, items: list[str], words: list[WordPair]) -> PromptBatch:
        return PromptBatch(items, self._encode(items), words)
