"""Tensors that are made once and kept: in memory, or on disk, where they outlive the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from toolkit import atomic

Named = Mapping[str, Tensor]


class KeptTensors:
    """Name → tensors, on the CPU where they lie on disk."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: where they are kept; without one, in memory."""
        self._folder = folder
        self._known: dict[str, Named] = {}

    def __call__(self, name: str, make: Callable[[], Named]) -> Named:
        """What is kept under a name that any file system takes, made first where it is not."""
        if self._folder is None:
            if name not in self._known:
                self._known[name] = make()
            return self._known[name]
        file = self._folder / f"{name}.safetensors"
        try:
            return load_file(file)
        except (OSError, SafetensorError):  # absent, or cut short by a crash of the machine
            made = {key: value.contiguous().cpu() for key, value in make().items()}
            atomic.write_file(file, save(made))
            return made

    def has(self, name: str) -> bool:
        """Whether it need not be made."""
        return name in self._known if self._folder is None else (self._folder / f"{name}.safetensors").is_file()
