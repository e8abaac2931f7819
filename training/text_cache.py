"""Text conditioning is made once per prompt: kept in memory for small bases, on disk for those that say who they are.

On disk it outlives the run, so that a second run on the same prompts never loads the text encoders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from toolkit import atomic
from training.contracts import Conditioning

NOTHING = "nothing.safetensors"  # no prompt's file is called so


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
        self._encode, self._folder, self._device = encode, folder, device or torch.device("cpu")
        self._known: dict[str, Conditioning] = {}

    def __call__(self, prompts: Sequence[str]) -> Conditioning:
        """Conditioning [B, …] of prompts, in their order, on the device."""
        rows = [self._prompt(prompt) for prompt in prompts]
        return {name: torch.cat([row[name] for row in rows]).to(self._device) for name in rows[0]}

    def nothing(self, encode_nothing: Callable[[], Conditioning]) -> Conditioning:
        """What true guidance guides away from, [1, …], on the device; kept as prompts are."""
        row = self._row(NOTHING, encode_nothing)
        return {name: value.to(self._device) for name, value in row.items()}

    def prepare(self, prompts: Iterable[str]) -> None:
        """Encode all that is not known yet, so that the text encoders can leave memory afterwards."""
        for prompt in dict.fromkeys(prompts):
            if self._folder is None or not (self._folder / file_name(prompt)).is_file():
                self._prompt(prompt)

    def _prompt(self, prompt: str) -> Conditioning:
        return self._row(file_name(prompt), lambda: self._encode([prompt]))

    def _row(self, name: str, make: Callable[[], Conditioning]) -> Conditioning:
        if self._folder is not None:
            return _from_disk(self._folder / name, make)
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]


def _from_disk(file: Path, make: Callable[[], Conditioning]) -> Conditioning:
    try:
        return load_file(file)
    except (OSError, SafetensorError):  # absent, or cut short by a crash of the machine
        row = {name: value.contiguous().cpu() for name, value in make().items()}
        atomic.write_file(file, save(row))
        return row


def file_name(prompt: str) -> str:
    """A name that any prompt may have on any file system."""
    return f"{hashlib.sha256(prompt.encode()).hexdigest()[:40]}.safetensors"
