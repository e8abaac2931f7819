"""Reading events.jsonl while it is being written: only what was appended, and afresh once a resumed run cut it back."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class EventReader:
    """Follows one events.jsonl: reads only what was appended, starts over when the file was cut or replaced."""

    def __init__(self, path: Path) -> None:
        """path: the file, existing or not."""
        self._path = path
        self._inode, self._offset = 0, 0
        self._events: list[Event] = []
        self._lock = threading.Lock()

    def read(self) -> tuple[Event, ...]:
        """All complete events so far; a torn line, the last or one between, is left out."""
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    status = os.fstat(file.fileno())
                    # A cut file is a new file, and may be longer than the old one by the time it is looked at.
                    if status.st_ino != self._inode or status.st_size < self._offset:
                        self._inode, self._offset, self._events = status.st_ino, 0, []
                    file.seek(self._offset)
                    complete, newline, _torn = file.read().rpartition(b"\n")
            except FileNotFoundError:
                return ()
            self._events += [event for line in complete.splitlines() if (event := _event(line))]
            self._offset += len(complete) + len(newline)
            return tuple(self._events)


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "kind" in event else None


def unseen(seen: tuple[Event, ...], events: tuple[Event, ...]) -> tuple[Event, ...]:
    """The events that come after what both have in common: not the history that a resumed run kept."""
    for place, (old, new) in enumerate(zip(seen, events, strict=False)):
        if old is not new and old != new:
            return events[place:]
    return events[len(seen) :]
