"""All runs of a folder at a glance, a thousand of them within a tick: a file is read again only when it changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from toolkit.run_folder import NAME, RunFolder, State

SEARCHED = ("name", "base", "method", "reward", "words")  # what of a recipe is looked through
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the quick one where it was built


@dataclass
class Row:
    """One run as last looked at. `created`: when its recipe was written."""

    name: str
    created: int
    stamp: tuple[int, int]
    state: State
    _words: str = field(default="", repr=False)

    def words(self, root: Path) -> str:
        """What a search looks through, in small letters; read when first asked for."""
        if not self._words:
            self._words = _words(root / self.name / "recipe.yaml", self.name)
        return self._words


class RunIndex:
    """The runs directly below one root."""

    def __init__(self, root: Path) -> None:
        """root: the folder of all runs."""
        self._root = root
        self._rows: dict[str, Row] = {}
        self._lock = threading.Lock()

    def rows(self) -> list[Row]:
        """Every run, newest first."""
        with self._lock:
            try:
                with os.scandir(self._root) as found:
                    names = [entry.name for entry in found if NAME.fullmatch(entry.name)]
            except OSError:
                names = []
            self._rows = {row.name: row for name in names if (row := self._row(name))}
            return sorted(self._rows.values(), key=lambda row: (row.created, row.name), reverse=True)

    def _row(self, name: str) -> Row | None:
        folder = f"{self._root}{os.sep}{name}{os.sep}"
        stamp, known = _stamp(folder + "state.json"), self._rows.get(name)
        if known is None or known.stamp != stamp or stamp == (0, 0):
            created, _size = _stamp(folder + "recipe.yaml")
            if not created or Path(self._root, name).is_symlink():
                return None
            run = RunFolder(Path(folder))
            return Row(name, created, stamp, run.state(), known._words if known else "")
        if known.state.is_active and known.state.pid:  # its process may have died without a word
            known.state = RunFolder(Path(folder)).state()
        return known

    def select(self, state: str = "", search: str = "", line: Collection[str] = ()) -> list[Row]:
        """The rows in one state (any, when empty) that have every word of the search in their name or recipe.

        line: names that are not to be among them.
        """
        wanted = search.casefold().split()
        return [
            row
            for row in self.rows()
            if row.name not in line
            and (not state or row.state.status == state)
            and (not wanted or all(word in row.words(self._root) for word in wanted))
        ]


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 — a thousand a tick, and Path would double their cost
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def _words(recipe: Path, name: str) -> str:
    try:
        content = yaml.load(recipe.read_text(encoding="utf-8"), Loader)  # noqa: S506 — both are safe loaders
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return name.casefold()
    tree = content if isinstance(content, dict) else {}
    return " ".join([name, *_texts(tree.get(key) for key in SEARCHED)]).casefold()


def _texts(content: Iterable[object]) -> Iterable[str]:
    for value in content:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from _texts(value.values())
        elif isinstance(value, list):
            yield from _texts(value)
