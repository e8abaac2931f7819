"""Candidates for a blind choice on disk: pictures or clips, and one line of JSON for each in `candidates.jsonl`.

Nothing is ever overwritten: a file's name is taken first, its whole content follows in one step, its line comes last.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

LINES = "candidates.jsonl"
LONGEST, DEEPEST = 64, 4  # characters of a part, parts
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
NUMBERED = re.compile(r"(\d{1,18})\.\w+")


def folder_in(root: Path, name: str) -> Path:
    """The sub-folder of that name, which need not exist yet. Raises ValueError for what could lie elsewhere.

    The rules of all systems hold on each, so that a folder can be copied to any other.
    """
    parts = name.strip().split("/")
    problem = next(filter(None, map(_problem, parts)), "too many folders deep" if len(parts) > DEEPEST else "")
    if problem:
        raise ValueError(f"The folder name {name[:LONGEST]!r} is not taken: {problem}. Give a name such as arena.")
    folder = root.joinpath(*parts)
    if not folder.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"The folder {name} is a link to a place outside the output folder. Choose another name.")
    return folder


def save(folder: Path, suffix: str, write: Callable[[Path], object]) -> str:
    """Let `write` fill the next numbered file; its name. What it leaves behind when it fails is removed."""
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=suffix, dir=folder)
    os.close(handle)
    unfinished = Path(temporary)
    try:
        write(unfinished)
        unfinished.chmod(0o644)
        _flush(unfinished)
        place = _take(folder, suffix)
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)
    return place.name


def append(folder: Path, records: Iterable[dict[str, Any]]) -> None:
    """The records as whole lines at the end, on disk when this returns; a line torn by a crash stays alone.

    Raises OSError when the file is a link.
    """
    text = "".join(json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n" for record in records)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(folder / LINES, flags, 0o644)
    with os.fdopen(handle, "r+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            text = text if file.read(1) == b"\n" else "\n" + text
        file.write(text.encode("utf-8", "replace"))
        os.fsync(file.fileno())


def _problem(part: str) -> str:
    """Why a part of a path is refused, "" for a good one."""
    if not part or part.startswith((".", "~", " ")) or part.endswith((".", " ")):
        return "a part of it is empty, or begins or ends with a dot, a space or ~"
    if FORBIDDEN.search(part) or not part.isprintable():
        return "it holds a character that some systems forbid"
    if DEVICE.fullmatch(part):
        return "Windows keeps that name for a device"
    return f"a part of it is longer than {LONGEST} characters" if len(part.encode("utf-8")) > LONGEST else ""


def _take(folder: Path, suffix: str) -> Path:
    """The next free number as an empty file, which nobody else can then have."""
    numbers = [int(found[1]) for path in folder.iterdir() if (found := NUMBERED.fullmatch(path.name))]
    number = max(numbers, default=0) + 1
    while True:
        place = folder / f"{number:06}{suffix}"
        with contextlib.suppress(FileExistsError):
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            return place
        number += 1


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
