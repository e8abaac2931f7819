"""Word pairs somebody wants at hand: one small JSON file beside the runs, shared by all tabs and all Studios on it."""

from __future__ import annotations

import json
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from toolkit import atomic
from toolkit.errors import UsageError
from toolkit.words import WordPair

FILE, LOCK = "favourites.json", ".favourites.lock"
MOST = 100
LOCK_SECONDS = 10.0


class Favourites:
    """Those of one folder of runs, the newest first. Two writers wait for each other; a killed one leaves no trace."""

    def __init__(self, root: Path) -> None:
        """root: the folder of all runs."""
        self.file, self._lock = root / FILE, FileLock(root / LOCK, timeout=LOCK_SECONDS)

    def read(self) -> tuple[WordPair, ...]:
        """All of them. Raises UsageError when the file is damaged."""
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            return tuple(WordPair(positive=one["positive"], negative=one["negative"]) for one in content["pairs"])
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise UsageError(
                f"The favourites in `{FILE}` cannot be read.", action="Mend the file beside your runs, or delete it."
            ) from error

    def offered(self) -> tuple[WordPair, ...]:
        """All of them; none where the file is damaged, which the Words page says."""
        try:
            return self.read()
        except UsageError:
            return ()

    def add(self, pair: WordPair) -> None:
        """Keep the pair. Raises UsageError when there are too many, or the file is damaged or cannot be written."""
        self._write(pair, keep=True)

    def remove(self, pair: WordPair) -> None:
        """Forget the pair. Raises UsageError when the file is damaged or cannot be written."""
        self._write(pair, keep=False)

    def _write(self, pair: WordPair, *, keep: bool) -> None:
        try:
            with self._lock:
                others = [kept for kept in self.read() if str(kept) != str(pair)]
                if keep and len(others) >= MOST:
                    raise UsageError(f"{MOST} favourites are kept already.", action="Remove one first.")
                kept = [pair, *others] if keep else others
                content = [{"positive": one.positive, "negative": one.negative} for one in kept]
                atomic.write_json(self.file, {"pairs": content})
        except (OSError, Timeout) as error:
            raise UsageError(
                "The favourites could not be saved.", cause=str(error), action="Look at the folder of your runs."
            ) from error
