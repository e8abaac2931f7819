"""Random numbers that belong to a sample, not to a process: keyed by (seed, update, sample, purpose).

The same sample draws the same numbers on one process or on eight, in any batch, before or after a resume. Draws are
made on the CPU, so that a device's own generator changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

SHARED = -1  # the key of draws that all samples of an update have in common


@dataclass(frozen=True)
class Rng:
    """Named draws for the samples `indices` (global numbers) of one update. Equal names give equal numbers."""

    seed: int
    update: int
    indices: tuple[int, ...]
    device: torch.device = torch.device("cpu")

    def normal(self, name: str, shape: Sequence[int], *, shared: bool = False) -> Tensor:
        """Standard normal [B, *shape]; `shared` repeats one draw for all samples."""
        return self._draw(name, lambda g: torch.randn(tuple(shape), generator=g), shared)

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0, shape: Sequence[int] = ()) -> Tensor:
        """Uniform in [low, high), [B, *shape]."""
        return low + (high - low) * self._draw(name, lambda g: torch.rand(tuple(shape), generator=g))

    def integer(self, name: str, low: int, high: int) -> Tensor:
        """Uniform in {low, …, high}, both included, [B] int64."""
        return self._draw(name, lambda g: torch.randint(low, high + 1, (), generator=g))

    def _draw(self, name: str, draw: Callable[[torch.Generator], Tensor], shared: bool = False) -> Tensor:
        if shared:
            one = draw(self._generator(SHARED, name))
            return one.expand(len(self.indices), *one.shape).to(self.device)
        return torch.stack([draw(self._generator(index, name)) for index in self.indices]).to(self.device)

    def _generator(self, index: int, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(key(self.seed, self.update, index, name))


def key(*parts: int | str) -> int:
    """A 63-bit number from any parts, the same on every machine and for every PYTHONHASHSEED."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@lru_cache(maxsize=2)  # an update asks for each of its samples, and may reach into the next epoch
def shuffled(count: int, *parts: int | str) -> tuple[int, ...]:
    """0 … count - 1 in an order that belongs to the parts."""
    return tuple(torch.randperm(count, generator=torch.Generator().manual_seed(key(*parts))).tolist())
