"""The queue's file: one small SQLite database among the runs. A change is a transaction that every process sees whole
or not at all, also after a power cut; whoever changes it holds the only lock while doing so.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolkit.errors import PalateError, UsageError

PATIENCE = 30.0  # seconds to wait for another process's change
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    name TEXT PRIMARY KEY, state TEXT NOT NULL, priority INTEGER NOT NULL, place INTEGER NOT NULL,
    gpus INTEGER NOT NULL, lanes TEXT NOT NULL, pid INTEGER NOT NULL, pid_started REAL NOT NULL,
    since REAL NOT NULL, wish TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS workers (pid INTEGER PRIMARY KEY, pid_started REAL NOT NULL);
CREATE TABLE IF NOT EXISTS settings (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), content TEXT NOT NULL);
"""


class QueueSettings(BaseModel):
    """What the user wants of the queue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_after_restart: bool = Field(
        default=False,
        description="Whether waiting runs start by themselves when the Studio is opened again. "
        "Otherwise they are paused until you resume them.",
    )


@dataclass(frozen=True)
class Entry:
    """One run's place in the queue."""

    name: str
    state: str  # a word of run_queue
    priority: int  # higher goes first
    place: int  # then the lower one
    gpus: int
    lanes: tuple[str, ...] = ()  # leased while it is starting or running
    pid: int = 0  # of the process that trains; while starting, of the one that starts it
    pid_started: float = 0.0
    since: float = 0.0  # when it got into this state, seconds of the clock
    wish: str = ""  # what a running one is to be once its process has ended: paused, cancelled or queued again


COLUMNS = [field.name for field in fields(Entry)]


def _entry(row: dict[str, Any]) -> Entry:
    row["lanes"] = tuple(json.loads(row["lanes"]))
    return Entry(**row)


class Table:
    """The database inside one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """connection: open, and closed by whoever opened it."""
        self._connection = connection

    def entries(self) -> list[Entry]:
        """Every entry, in no order."""
        rows = self._connection.execute(f"SELECT {', '.join(COLUMNS)} FROM entries")
        return [_entry(dict(zip(COLUMNS, row, strict=True))) for row in rows]

    def put(self, entry: Entry) -> None:
        """Write an entry, new or changed."""
        values = [json.dumps(value) if isinstance(value, tuple) else value for value in astuple(entry)]
        marks = ", ".join("?" * len(COLUMNS))
        self._connection.execute(f"INSERT OR REPLACE INTO entries ({', '.join(COLUMNS)}) VALUES ({marks})", values)

    def remove(self, name: str) -> None:
        """Forget an entry."""
        self._connection.execute("DELETE FROM entries WHERE name = ?", (name,))

    def workers(self) -> list[tuple[int, float]]:
        """(process id, start time) of those who said that they work this queue."""
        return list(self._connection.execute("SELECT pid, pid_started FROM workers"))

    def put_worker(self, pid: int, started: float) -> None:
        """Say that a process works this queue."""
        self._connection.execute("INSERT OR REPLACE INTO workers VALUES (?, ?)", (pid, started))

    def remove_worker(self, pid: int) -> None:
        """Say that it no longer does."""
        self._connection.execute("DELETE FROM workers WHERE pid = ?", (pid,))

    def settings(self) -> QueueSettings:
        """What the user wants; the defaults until it was said."""
        row = self._connection.execute("SELECT content FROM settings").fetchone()
        return QueueSettings.model_validate_json(row[0]) if row else QueueSettings()

    def put_settings(self, settings: QueueSettings) -> None:
        """Replace what the user wants."""
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES (1, ?)", (settings.model_dump_json(),))


class Store:
    """Opens the database for one transaction at a time, from any thread or process."""

    def __init__(self, path: Path) -> None:
        """path: the file, existing or not."""
        self.path = path

    def exists(self) -> bool:
        """Whether anything was ever queued here."""
        return self.path.is_file()

    @contextmanager
    def change(self) -> Iterator[Table]:
        """The table, with the only write lock; an exception takes everything back.

        Raises UsageError when the file is no queue or cannot be written, PalateError when others never let go of it.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield Table(connection)
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as problem:
            raise self._explained(problem) from problem

    @contextmanager
    def look(self) -> Iterator[Table]:
        """The table as of the last change, without keeping anybody from changing it. Raises as `change` does."""
        try:
            with self._opened() as connection:
                connection.execute("BEGIN")
                yield Table(connection)
        except sqlite3.Error as problem:
            raise self._explained(problem) from problem

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = EXTRA")  # on the disk before anybody acts on it
            connection.executescript(SCHEMA)  # writes nothing where the tables are
            yield connection

    def _explained(self, problem: Exception) -> PalateError:
        if "locked" in str(problem):
            return PalateError("Another program has been changing the queue for too long.", action="Try again.")
        return UsageError(
            f"The queue `{self.path}` cannot be used: {problem}.",
            cause="The folder cannot be written, or the file was damaged.",
            action="Mend the folder's rights, or move the file away: the runs stay, only their order is forgotten.",
        )
