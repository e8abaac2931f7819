"""The user's LoRA files: by name only, .safetensors only, read again when they changed on disk."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import comfy.utils
import folder_paths
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .logic.about import About, about

FOLDER = "loras"
NONE = "none"  # the first entry of a dropdown that may stay without a file
KEPT = 2  # files in memory; their numbers stay on the disk until they are used

Stamp = tuple[str, int, int]


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
    return [name for name in folder_paths.get_filename_list(FOLDER) if name.endswith(".safetensors")]


def refusal(name: str | None) -> bool | str:
    """True for a file that can be read (or none), else the sentence with which the server refuses the prompt."""
    if not name or name == NONE:
        return True
    try:
        _path(name)
    except ValueError as error:
        return str(error)
    return True


def stamp(name: str | None) -> Stamp | str:
    """The same as long as the file is the same. ComfyUI compares it to know whether a node must run again."""
    try:
        path = _path(name or "")
        about_file = path.stat()
    except (ValueError, OSError):
        return f"no file {name}"
    return str(path), about_file.st_mtime_ns, about_file.st_size


def read(name: str) -> LoraFile:
    """The whole file; the last few are kept. Raises ValueError with a sentence for what cannot be read."""
    path = _path(name)
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
    return _read_about(str(_path(name)), key)


@lru_cache(maxsize=64)
def _read_about(path: str, _: Any) -> About:
    try:
        with safe_open(path, "pt") as file:
            return about(file.metadata())
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{Path(path).name} is not a readable .safetensors file. Download it again.") from error


def _copy(file: LoraFile) -> LoraFile:
    return LoraFile(file.name, dict(file.tensors), file.about)


def _path(name: str) -> Path:
    """The file of that name in the user's folders. Raises ValueError for a path, another kind and what is missing."""
    pure = (PurePosixPath(name), PureWindowsPath(name))
    if any(each.anchor or ".." in each.parts for each in pure) or "\0" in name:
        raise ValueError("Choose a LoRA by its name in the list; paths are not taken.")
    if not name.endswith(".safetensors"):
        raise ValueError(f"{name} is not a .safetensors file; other kinds can hold programs and are never opened.")
    found = folder_paths.get_full_path(FOLDER, name)
    if found is None:
        raise ValueError(f"There is no LoRA {name}. Put it into models/loras and press R to refresh the lists.")
    return Path(found)
