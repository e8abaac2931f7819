"""Whole files appear complete or not at all: written beside the target, flushed to disk, then renamed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_file(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content` in one step. Raises OSError when the disk is full or read-only; `path` stays."""
    data = content.encode() if isinstance(content, str) else content
    write_with(path, lambda temporary: _write(temporary, data))


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by the JSON of `content`, keys sorted, one trailing newline."""
    write_file(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_with(path: Path, writer: Callable[[Path], object]) -> None:
    """Let `writer` fill a temporary file in the same folder, keeping the suffix, and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        writer(temporary)
        temporary.chmod(0o644)
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """fsync a file, or a folder where the system allows it (Windows does not)."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
