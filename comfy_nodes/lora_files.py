"""The user's LoRA files, read again when they changed on disk."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import comfy.utils
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .logic.about import About, about
from .named_files import NamedFiles, Stamp

FILES = NamedFiles(
    "loras", "LoRA", "There is no LoRA {name}. Put it into models/loras and press R to refresh the lists."
)
NONE = "none"  # the first entry of a dropdown that may stay without a file
KEPT = 2  # files in memory; their numbers stay on the disk until they are used


@dataclass(frozen=True)
class LoraFile:
    """One file's weights, of which each reader gets a dictionary of its own, and what it says of itself."""

    name: str
    tensors: dict[str, Tensor]
    about: About


_files: OrderedDict[Stamp, LoraFile] = OrderedDict()
_lock = threading.Lock()


def names() -> list[str]:
    """Every file that may be chosen, sub-folders included."""
    return FILES.names()


def refusal(name: str | None) -> bool | str:
    """True for a file that can be read (or none), else the sentence with which the server refuses the prompt."""
    return True if not name or name == NONE else FILES.refusal(name)


def stamp(name: str | None) -> Stamp | str:
    """The same as long as the file is the same. ComfyUI compares it to know whether a node must run again."""
    return FILES.stamp(name)


def read(name: str) -> LoraFile:
    """The whole file; the last few are kept. Raises ValueError with a sentence for what cannot be read."""
    path = FILES.path(name)
    key = stamp(name)
    with _lock:
        if not isinstance(key, str) and key in _files:
            _files.move_to_end(key)
            return _copy(_files[key])
        try:
            tensors, metadata = comfy.utils.load_torch_file(str(path), safe_load=True, return_metadata=True)
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(f"{name} is not a readable .safetensors file. Download it again.") from error
        loaded = LoraFile(name, dict(tensors), about(metadata))
        if not isinstance(key, str):
            for old in [each for each in _files if each[0] == key[0]]:
                del _files[old]
            _files[key] = loaded
            while len(_files) > KEPT:
                _files.popitem(last=False)
        return _copy(loaded)


def read_about(name: str) -> About:
    """The header alone. Raises ValueError with a sentence for what cannot be read."""
    key = stamp(name)
    return _read_about(str(FILES.path(name)), key)


@lru_cache(maxsize=64)
def _read_about(path: str, _: Any) -> About:
    try:
        with safe_open(path, "pt") as file:
            return about(file.metadata())
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{Path(path).name} is not a readable .safetensors file. Download it again.") from error


def _copy(file: LoraFile) -> LoraFile:
    return LoraFile(file.name, dict(file.tensors), file.about)
