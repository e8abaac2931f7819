"""The errors a user may see: what happened, the likely cause, one action. Exit codes as shells expect them.

PalateError
├── UsageError          exit 2: a recipe, an option or a file is not as it must be; nothing was started
├── TrainingError       exit 1: a run could not go on (diverged, disk full); what was saved stays
└── Interrupted         exit 130 / 143: stopped by Ctrl-C / SIGTERM after a clean save
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PalateError(Exception):
    """A failure told in three parts. `str(error)` joins them into one short paragraph."""

    exit_code = 1

    def __init__(self, what: str, *, cause: str = "", action: str = "") -> None:
        """what happened; the likely cause; one action that mends it (the last two may be empty)."""
        super().__init__(what)
        self.what, self.cause, self.action = what, cause, action

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.cause, self.action) if part)


class UsageError(PalateError):
    """The request cannot be carried out as it stands; nothing was started."""

    exit_code = 2


class TrainingError(PalateError):
    """A run ended early; everything announced as saved is intact."""


class Interrupted(PalateError):
    """A signal asked the run to end; it saved first."""

    def __init__(self, what: str, *, signal_number: int, action: str = "") -> None:
        """signal_number: 2 (Ctrl-C) or 15 (SIGTERM); the exit code is 128 + signal_number."""
        super().__init__(what, action=action)
        self.exit_code = 128 + signal_number


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """One sentence naming the closest known spelling, or the list of all when nothing is close."""
    names = sorted(known)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean `{close[0]}`?"
    return f"Known: {', '.join(names)}."
