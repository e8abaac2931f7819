"""What became of the queue's runs while nobody looked: processes ended, starters died, runs were started past it."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path

import psutil

from toolkit import launch
from toolkit.queue_store import Entry, Table
from toolkit.run_folder import (
    CANCELLED,
    FAILED,
    INTERRUPTED,
    PAUSED,
    QUEUED,
    RUNNING,
    STOPPED,
    RunFolder,
    State,
    is_alive,
)

STARTING = "starting"
WAITING, AT_WORK = (QUEUED, PAUSED), (STARTING, RUNNING)
GRACE = 10.0  # seconds after a starter's death in which the process that it may have left could still be unseen


def reconcile(root: Path, table: Table) -> dict[str, Entry]:
    """All entries by name, after the truth about their processes was written down."""
    for pid, started in table.workers():
        if not is_alive(pid, started):
            table.remove_worker(pid)
    for entry in table.entries():
        if entry.state in (*WAITING, *AT_WORK):
            run = RunFolder(root / entry.name)
            if not run.recipe_file.is_file():
                table.remove(entry.name)
            elif entry.state == RUNNING and is_alive(entry.pid, entry.pid_started):
                pass
            elif (state := run.state()).is_active and state.pid:
                # Started past the queue, or noted in the folder alone; or, of several processes, the first outlived the
                # one above it.
                table.put(at_work(entry, state.pid, _started(state.pid)))
            elif entry.state in WAITING:
                if state.status != entry.state:  # a crash came between the folder's word and ours
                    become(root, table, entry, entry.state)
            elif entry.state == RUNNING:
                become(root, table, entry, _ended(entry, state))
            elif not is_alive(entry.pid, entry.pid_started):
                _after_its_starter(root, table, entry, run)
    return {entry.name: entry for entry in table.entries()}


def _after_its_starter(root: Path, table: Table, entry: Entry, run: RunFolder) -> None:
    """The starter died: before there was a process, or before it could note it."""
    if process := launch.find(run):
        run.write_state(QUEUED, pid=process.pid, pid_started=process.create_time())
        table.put(at_work(entry, process.pid, process.create_time()))
    elif time.time() - entry.since > GRACE:
        become(root, table, entry, entry.wish or QUEUED)


def become(root: Path, table: Table, entry: Entry, state: str, reason: str = "") -> None:
    """Put an entry into a state without a process, and say so in the run's folder, which everybody reads."""
    run = RunFolder(root / entry.name)
    at = run.state()
    if state in (QUEUED, PAUSED, CANCELLED, FAILED) and state != at.status:
        with contextlib.suppress(OSError):  # a folder that cannot be written: the queue still knows
            run.write_state(state, message=_sentence(state, at.update) or reason, pid=0)
    table.put(replace(entry, state=state, lanes=(), pid=0, pid_started=0.0, since=time.time(), wish=""))


def at_work(entry: Entry, pid: int, started: float) -> Entry:
    """The entry with the process that trains."""
    return replace(entry, state=RUNNING, pid=pid, pid_started=started, since=time.time())


def _sentence(state: str, update: int) -> str:
    if state == PAUSED:
        return f"Paused at update {update}. Resume goes on from there." if update else "Paused before it started."
    if state == CANCELLED:
        return f"Cancelled at update {update}." if update else "Cancelled before it started."
    return ""


def _started(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # it ended just now; the next look finds out how
        return 0.0


def _ended(entry: Entry, state: State) -> str:
    """What a run is whose process is gone: what was wished, unless it came to another end of its own before."""
    if entry.wish == QUEUED or (entry.wish and state.status in (INTERRUPTED, STOPPED, entry.wish)):
        return entry.wish
    return INTERRUPTED if state.is_active else state.status  # one that never came to say anything was interrupted
