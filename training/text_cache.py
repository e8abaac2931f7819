"""Text conditioning is made once per prompt: kept in memory for small bases, on disk for those that say who they are.

On disk it outlives the run, so that a second run on the same prompts never loads the text encoders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from training.contracts import Conditioning
from training.kept_tensors import KeptTensors

NOTHING = "nothing"  # no prompt is kept under this name


class ConditioningCache:
    """Encodes each prompt once, alone, so that its numbers do not depend on its neighbours."""

    def __init__(
        self,
        encode: Callable[[Sequence[str]], Conditioning],
        *,
        folder: Path | None = None,
        device: torch.device | None = None,
    ) -> None:
        """encode: a base's text encoding; folder: of this base alone; device: where batches are wanted."""
        self._encode, self._device = encode, device or torch.device("cpu")
        self._kept = KeptTensors(folder)

    def __call__(self, prompts: Sequence[str]) -> Conditioning:
        """Conditioning [B, …] of prompts, in their order, on the device."""
        rows = [self._prompt(prompt) for prompt in prompts]
        return {name: torch.cat([row[name] for row in rows]).to(self._device) for name in rows[0]}

    def nothing(self, encode_nothing: Callable[[], Conditioning]) -> Conditioning:
        """What true guidance guides away from, [1, …], on the device; kept as prompts are."""
        return {name: value.to(self._device) for name, value in self._kept(NOTHING, encode_nothing).items()}

    def prepare(self, prompts: Iterable[str]) -> None:
        """Encode all that is not known yet, so that the text encoders can leave memory afterwards."""
        for prompt in dict.fromkeys(prompts):
            if not self._kept.has(name_of(prompt)):
                self._prompt(prompt)

    def _prompt(self, prompt: str) -> Conditioning:
        return self._kept(name_of(prompt), lambda: self._encode([prompt]))


def name_of(prompt: str) -> str:
    """A name that any prompt may have on any file system."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:40]
