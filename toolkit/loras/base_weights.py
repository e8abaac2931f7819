"""The weights of a base on disk, one tensor at a time: a single file, or a folder with its shards and their index.

A file is opened anew for each tensor: a mapped page counts as memory of the process until its file is closed, so an
open file would grow to the size of the model. torch is imported inside the functions.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import atomic
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

PREFIXES = ("model.diffusion_model.", "diffusion_model.")  # of checkpoints that hold text encoders and VAE too
COMPONENTS = ("transformer", "unet")
CHUNK = 1 << 24


@dataclass(frozen=True)
class BaseWeights:
    """Where each tensor of a base lies. `folder` is empty for a single file."""

    files: tuple[Path, ...]
    folder: Path | None

    @classmethod
    def find(cls, path: Path) -> BaseWeights:
        """A .safetensors file, a component folder of diffusers', or a pipeline folder. Raises UsageError."""
        if path.is_file():
            return cls((path,), None)
        folders = [path, *(path / component for component in COMPONENTS)]
        for folder in folders:
            if indices := sorted(folder.glob("*.safetensors.index.json")):
                return cls(_shards(indices[0]), folder)
            if found := sorted(folder.glob("*.safetensors")):
                return cls(tuple(found), folder)
        raise UsageError(
            f"There are no .safetensors weights in `{path.name}`.",
            action="Give a .safetensors file, or a model's `transformer` or `unet` folder.",
        )

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every tensor's shape, by the name it has in its file."""
        return {name: tuple(entry["shape"]) for path in self.files for name, entry in header(path)[0].items()}

    @cached_property
    def layers(self) -> Mapping[str, str]:
        """Names without their prefix → names in the file. Parts of a checkpoint that are not the network stay out."""
        prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in self._places)), "")
        return {name.removeprefix(prefix): name for name in sorted(self._places) if name.startswith(prefix)}

    def read(self, name: str) -> Tensor:
        """One tensor, in memory of its own."""
        from safetensors import safe_open

        with safe_open(self._places[name], "pt") as file:
            return file.get_tensor(name).clone()

    @cached_property
    def _places(self) -> Mapping[str, Path]:
        return {name: path for path in self.files for name in header(path)[0]}


def header(path: Path) -> tuple[dict[str, dict], int]:
    """A file's tensors in the order of their bytes, and where those begin. Raises UsageError."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("its header is cut off")
            entries = json.loads(file.read(length))
        entries.pop("__metadata__", None)
        ordered = dict(sorted(entries.items(), key=lambda entry: entry[1]["data_offsets"]))
        if ordered and 8 + length + max(e["data_offsets"][1] for e in ordered.values()) != path.stat().st_size:
            raise ValueError("its weights are cut off")
    except (OSError, ValueError, struct.error, AttributeError, KeyError, TypeError) as error:
        raise UsageError(
            f"`{path.name}` is not a readable safetensors file: {error}.", action="Download it again."
        ) from error
    return ordered, 8 + length


def is_quantised(tensor: Tensor) -> bool:
    """Integers and 8-bit floats: too coarse to subtract from or to add to."""
    return not tensor.is_floating_point() or tensor.element_size() == 1


def rewrite(source: Path, target: Path, change: Callable[[str, Tensor], Tensor | None]) -> None:
    """Copy a file with some tensors changed: `change` returns the new tensor, or None to keep it. One tensor in memory.

    The header stays byte for byte, so names, order, shapes and precision do too.
    """
    entries, start = header(source)
    atomic.write_with(target, lambda temporary: _copy(source, temporary, entries, start, change))


def _copy(
    source: Path, target: Path, entries: Mapping[str, dict], start: int, change: Callable[[str, Tensor], Tensor | None]
) -> None:
    import torch
    from safetensors import safe_open

    with source.open("rb") as old, target.open("wb") as new:
        new.write(old.read(start))
        for name, entry in entries.items():
            with safe_open(source, "pt") as file:
                tensor = change(name, file.get_tensor(name))
            first, last = entry["data_offsets"]
            if tensor is not None:
                new.write(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
                continue
            old.seek(start + first)
            for offset in range(first, last, CHUNK):
                new.write(old.read(min(CHUNK, last - offset)))


def copy_others(source: Path, target: Path) -> None:
    """Copy a component folder's small files (configuration, index) beside rewritten weights."""
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix == ".json":
            shutil.copyfile(path, target / path.name)


def _shards(index: Path) -> tuple[Path, ...]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"`{index.name}` is not an index of shards: {error}.", action="Download it again.") from error
    for name in names:
        if Path(name).name != name:
            raise UsageError(f"`{index.name}` points outside its folder: `{name}`.", action="Do not use this model.")
        if not (index.parent / name).is_file():
            raise UsageError(f"`{name}` is missing beside `{index.name}`.", action="Download the model again.")
    return tuple(index.parent / name for name in names)
