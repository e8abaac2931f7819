"""Comparisons on disk, below the runs: whoever asks writes a request, one worker draws it, everybody reads.

compare/<name>/request.json   what was asked and what decides its pixels; the name is its hash
compare/<name>/state.json     waiting, being drawn, done, stopped or failed
compare/<name>/<key>.png      one picture; of a clip its middle frame, and the clip itself as <key>.webp
compare/<name>/sheet.png      all of them with labels, once all are there
compare/worker.json           the process that draws, while there is one
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError

from toolkit import atomic, launch
from toolkit.comparison import Cell, Comparison, Request, pin
from toolkit.errors import UsageError
from toolkit.run_folder import DONE, FAILED, INTERRUPTED, QUEUED, RUNNING, STOPPED, is_alive

NAME = re.compile(r"[0-9a-f]{16}")
KEPT = 50  # comparisons; older ones make room
IDLE_SECONDS = 120.0
GRACE_SECONDS = 10.0  # between a request and the process that will draw it


@dataclass(frozen=True)
class Progress:
    """How far a comparison is, after the process behind it was looked for."""

    status: str
    message: str = ""

    @property
    def is_active(self) -> bool:
        """Whether pictures are still to come by themselves."""
        return self.status in (QUEUED, RUNNING)

    @property
    def can_retry(self) -> bool:
        """Whether pictures are missing that another try may draw."""
        return self.status in (INTERRUPTED, STOPPED, FAILED)


class ComparisonFolder:
    """One comparison's files. Creating the object touches nothing."""

    def __init__(self, path: Path) -> None:
        """path: the folder, existing or not."""
        self.path = path
        self.request_file = path / "request.json"
        self.state_file = path / "state.json"
        self.sheet = path / "sheet.png"

    @property
    def name(self) -> str:
        """The request's hash."""
        return self.path.name

    def request(self) -> Request:
        """What was asked. Raises UsageError when the file is damaged."""
        try:
            return Request.model_validate_json(self.request_file.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise UsageError("This comparison cannot be read.", action="Ask for it again.") from error

    def picture(self, request: Request, cell: Cell) -> Path:
        """Where a picture lies or will lie."""
        return self.path / f"{request.key(cell)}.png"

    def clip(self, request: Request, cell: Cell) -> Path:
        """Where a clip lies, for bases that make them."""
        return self.path / f"{request.key(cell)}.webp"

    def write_state(self, status: str, message: str = "", *, process: psutil.Process | None = None) -> None:
        """Replace state.json."""
        content = {"status": status, "message": message, "time": time.time()}
        atomic.write_json(self.state_file, content | (_identity(process) if process else {}))

    def raw_state(self) -> dict[str, Any]:
        """state.json as it was written; empty where there is none."""
        return _read(self.state_file)

    @property
    def asked_at(self) -> float:
        """When it was asked for first."""
        return self.request_file.stat().st_mtime


class Comparisons:
    """All comparisons below one folder of runs, and the worker that draws them."""

    def __init__(self, root: Path) -> None:
        """root: the folder of all runs."""
        self.root = root
        self.path = root / "compare"
        self.worker_file = self.path / "worker.json"
        self.log_file = self.path / "log.txt"
        self._lock = threading.Lock()

    def find(self, name: str) -> ComparisonFolder:
        """The comparison of that name. Raises UsageError; no name leads anywhere else."""
        folder = ComparisonFolder(self.path / str(name))
        if not NAME.fullmatch(str(name)) or not folder.request_file.is_file():
            raise UsageError(
                "This comparison is not here any more.", action=f"The newest {KEPT} are kept. Ask for it again."
            )
        return folder

    def all(self) -> list[ComparisonFolder]:
        """Every comparison, newest first."""
        found = [ComparisonFolder(path.parent) for path in self.path.glob("*/request.json")]
        return sorted((f for f in found if NAME.fullmatch(f.name)), key=lambda f: f.asked_at, reverse=True)

    def ask(self, asked: Comparison, *, idle: float = IDLE_SECONDS) -> ComparisonFolder:
        """Have it drawn, unless it is already; the same comparison is the same folder. Returns at once.

        Raises UsageError when it cannot be drawn or the folder cannot be written.
        """
        with self._lock:
            request = pin(self.root, asked)
            folder = ComparisonFolder(self.path / request.name)
            try:
                if not folder.request_file.is_file():
                    atomic.write_json(folder.request_file, request.model_dump(mode="json"))
                    self._make_room()
                if not (progress := self.progress(folder)).is_active and progress.status != DONE:
                    self._enqueue(folder, idle)
            except OSError as error:
                raise _unwritable(self.path, error) from error
            return folder

    def retry(self, name: str) -> None:
        """Draw what is missing. Raises UsageError."""
        with self._lock:
            folder = self.find(name)
            if self.progress(folder).can_retry:
                try:
                    self._enqueue(folder, IDLE_SECONDS)
                except OSError as error:
                    raise _unwritable(self.path, error) from error

    def stop(self, name: str) -> None:
        """Draw no further picture of it; those that are there stay. Raises UsageError."""
        folder = self.find(name)
        if self.progress(folder).is_active:
            folder.write_state(STOPPED, "Stopped. What was drawn is kept.")

    def progress(self, folder: ComparisonFolder) -> Progress:
        """How it stands; one whose process is gone reads as interrupted, whatever the file says."""
        raw = folder.raw_state()
        status, message = raw.get("status", INTERRUPTED), raw.get("message", "")
        fresh = time.time() - raw.get("time", 0) < GRACE_SECONDS
        gone = (status == RUNNING and not _lives(raw)) or (status == QUEUED and not (fresh or self._has_worker()))
        if gone or status == INTERRUPTED:
            return Progress(INTERRUPTED, "Interrupted: the process that draws is gone. Pictures so far are kept.")
        return Progress(status, message)

    def waiting(self) -> list[ComparisonFolder]:
        """What is to be drawn next, oldest first."""
        return [folder for folder in reversed(self.all()) if folder.raw_state().get("status") == QUEUED]

    def claim(self) -> None:
        """Say that this very process is the worker."""
        atomic.write_json(self.worker_file, _identity(psutil.Process()))

    def _enqueue(self, folder: ComparisonFolder, idle: float) -> None:
        folder.write_state(QUEUED)  # before the worker is looked for: one that is about to end looks once more
        if self._has_worker():
            return
        with self.log_file.open("ab") as log:
            child = launch.detached(worker_command(self.root, idle), cwd=self.path, log=log)
        _reap(child)
        atomic.write_json(self.worker_file, _identity(psutil.Process(child.pid)))

    def _has_worker(self) -> bool:
        return _lives(_read(self.worker_file))

    def _make_room(self) -> None:
        for old in self.all()[KEPT:]:
            if not self.progress(old).is_active:
                shutil.rmtree(old.path, ignore_errors=True)


def worker_command(root: Path, idle: float) -> list[str]:
    """The command that draws what waits below `root` and ends after `idle` seconds without a request."""
    return [sys.executable, "-m", "training", "draw", str(root.resolve()), "--idle", str(idle)]


def _identity(process: psutil.Process) -> dict[str, Any]:
    return {"pid": process.pid, "pid_started": process.create_time()}


def _lives(raw: dict[str, Any]) -> bool:
    return "pid" in raw and is_alive(raw["pid"], raw["pid_started"])


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _reap(child: subprocess.Popen[bytes]) -> None:
    """Wait for it aside, so that an ended worker is no zombie of a Studio that goes on."""
    threading.Thread(target=child.wait, daemon=True).start()


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"The comparison cannot be written to `{path}`: {error.strerror or error}.",
        action="Make the folder writable, or free some space.",
    )
