"""Which run may start next, and on which GPUs. The order lives in `queue.sqlite` among the runs; how far a run is lives
in its own folder. Any number of programs may change one queue at once; `queue_worker` starts what is due.

queued ──▶ starting ──▶ running ──▶ done · stopped · failed · interrupted
  ▲  │ pause, cancel       │ pause, cancel: a SIGTERM, and once its process is gone
  │  ▼                     ▼
  └─ paused, cancelled ◀───┘            resume leads from every state but `done` back to queued

A lease is a process id with that process's start time, so that a reused id is never taken for it. Higher priority goes
first, then who came first; a run that waits for several GPUs is not overtaken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from toolkit import launch, run_folder
from toolkit.errors import UsageError
from toolkit.queue_reconciling import AT_WORK, STARTING, WAITING, at_work, become, reconcile
from toolkit.queue_store import Entry, QueueSettings, Store, Table
from toolkit.run_folder import CANCELLED, DONE, FAILED, PAUSED, QUEUED, RUNNING, RunFolder, is_alive

MOST_WAITING, HIGHEST_PRIORITY, MOST_GPUS = 10_000, 100, 64


def line(entries: Iterable[Entry]) -> list[Entry]:
    """Those who wait, in their order; paused ones keep their place."""
    waiting = [entry for entry in entries if entry.state in WAITING]
    return sorted(waiting, key=lambda entry: (-entry.priority, entry.place, entry.name))


def due(entries: Sequence[Entry], lanes: Sequence[str]) -> list[Entry]:
    """Who may start now, with the lanes each gets. Who needs more than there are at all is passed over."""
    leased = {lane for entry in entries if entry.state in AT_WORK for lane in entry.lanes}
    free, found = [lane for lane in lanes if lane not in leased], []
    for entry in line(entries):
        if entry.state == PAUSED or entry.gpus > len(lanes):
            continue
        if entry.gpus > len(free):
            break
        found.append(replace(entry, lanes=tuple(free[: entry.gpus])))
        free = free[entry.gpus :]
    return found


class Queue:
    """The queue of the runs below one root. Creating the object touches nothing."""

    def __init__(self, root: Path) -> None:
        """root: the folder of all runs."""
        self.root = Path(root).resolve()
        self._store = Store(self.root / "queue.sqlite")

    # ── Looking ──

    def entries(self) -> list[Entry]:
        """Everything that was ever queued: at work, then the line, then the rest by when it ended, newest first."""
        if not self._store.exists():
            return []
        with self._store.look() as table:
            found = table.entries()
        busy = sorted((e for e in found if e.state in AT_WORK), key=lambda e: (e.lanes, e.name))
        over = sorted((e for e in found if e.state not in (*WAITING, *AT_WORK)), key=lambda e: (-e.since, e.name))
        return [*busy, *line(found), *over]

    def is_worked(self) -> bool:
        """Whether some process starts what is due."""
        if not self._store.exists():
            return False
        with self._store.look() as table:
            return any(is_alive(*worker) for worker in table.workers())

    def settings(self) -> QueueSettings:
        """What the user wants."""
        if not self._store.exists():
            return QueueSettings()
        with self._store.look() as table:
            return table.settings()

    # ── Changing: each raises UsageError when there is no such run or it is not in a state for this ──

    def set_settings(self, settings: QueueSettings) -> None:
        """Replace what the user wants."""
        with self._store.change() as table:
            table.put_settings(settings)

    def add(self, name: str, *, priority: int = 0, gpus: int = 1, first: bool = False) -> int:
        """Put a run into the line, at the end of its priority or before everybody. Returns its place, from 1."""
        if not (abs(priority) <= HIGHEST_PRIORITY and 1 <= gpus <= MOST_GPUS):
            raise UsageError(
                f"Priority {priority} with {gpus} GPUs is out of range.",
                action=f"Priorities go from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}, GPUs from 1 to {MOST_GPUS}.",
            )
        run = self.run(name)
        with self._store.change() as table:
            known = reconcile(self.root, table)
            self._must_not(known.get(run.name), *WAITING, *AT_WORK)
            if (state := run.state()).is_active and state.pid:
                raise UsageError(f"`{name}` is running already.", action="Stop it first.")
            if state.status == DONE:
                raise UsageError(f"`{name}` is done.", action="Duplicate it to train it again.")
            waiting = line(known.values())
            if len(waiting) >= MOST_WAITING:
                raise UsageError(f"{MOST_WAITING} runs are waiting already.", action="Cancel some.")
            place = max((entry.place for entry in known.values()), default=0) + 1
            if first and waiting:
                priority, place = waiting[0].priority, min(entry.place for entry in waiting) - 1
            become(self.root, table, Entry(run.name, QUEUED, priority, place, gpus), QUEUED)
            return self._place(table, run.name)

    def pause(self, name: str) -> None:
        """A waiting run keeps its place but does not start; one at work saves and ends, to go on later."""
        self._leave(name, PAUSED)

    def cancel(self, name: str) -> None:
        """Out of the line; a run at work saves and ends. Its folder stays."""
        self._leave(name, CANCELLED)

    def resume(self, name: str) -> int:
        """Back into the line, a paused run at its old place. Returns the place, from 1.

        0 for a run that has said its last word and whose process is still ending: it queues itself right after.
        """
        run = self.run(name)
        with self._store.change() as table:
            entry = reconcile(self.root, table).get(run.name)
            if entry and entry.state == RUNNING and not (state := run.state()).is_active and state.status != DONE:
                table.put(replace(entry, wish=QUEUED))
                return 0
            if entry and entry.state == PAUSED:
                become(self.root, table, entry, QUEUED)
                return self._place(table, run.name)
        return self.add(name, priority=entry.priority, gpus=entry.gpus) if entry else self.add(name)

    def resume_all(self) -> int:
        """Every paused run. Returns how many."""
        with self._store.change() as table:
            paused = [entry for entry in reconcile(self.root, table).values() if entry.state == PAUSED]
            for entry in paused:
                become(self.root, table, entry, QUEUED)
            return len(paused)

    def move(self, name: str, place: int) -> int:
        """To a place in the line, 1 being next; the run takes on the priority that belongs there. Returns the place."""
        run = self.run(name)
        with self._store.change() as table:
            known = reconcile(self.root, table)
            entry = self._must(known.get(run.name), run.name, *WAITING)
            others = [other for other in line(known.values()) if other.name != entry.name]
            at = min(max(place, 1), len(others) + 1) - 1
            lowest = others[at].priority if at < len(others) else -HIGHEST_PRIORITY
            highest = others[at - 1].priority if at else HIGHEST_PRIORITY
            moved = replace(entry, priority=min(max(entry.priority, lowest), highest))
            for number, other in enumerate([*others[:at], moved, *others[at:]], 1):
                table.put(replace(other, place=number))
            return at + 1

    def duplicate(self, name: str) -> str:
        """Another run of the same recipe, at the end of the line. Returns its name."""
        run = self.run(name)
        entry = next((entry for entry in self.entries() if entry.name == run.name), None)
        copy = RunFolder.create(self.root, run.recipe())
        self.add(copy.name, priority=entry.priority if entry else 0, gpus=entry.gpus if entry else 1)
        return copy.name

    def run(self, name: str) -> RunFolder:
        """The run of that name directly below the root. Raises UsageError."""
        found = run_folder.find(self.root, name)
        if found.path.parent != self.root:
            raise UsageError(f"`{name}` lies outside of `{self.root}`.", action="Give --runs its folder.")
        return found

    # ── For those who work the queue ──

    def open_session(self) -> None:
        """When the Studio is opened: what waits from before starts only if the user said so, or if somebody works."""
        if not self._store.exists():
            return
        with self._store.change() as table:
            known = reconcile(self.root, table)
            if table.workers() or table.settings().start_after_restart:
                return
            for entry in known.values():
                if entry.state == QUEUED:
                    become(self.root, table, entry, PAUSED)
                elif entry.state == STARTING:  # its starter is gone: if it left no process, the run is not to start now
                    table.put(replace(entry, wish=entry.wish or PAUSED))

    def claim(self, lanes: Sequence[str]) -> list[Entry]:
        """Lease lanes to those who are due, for this very process to start them; nobody else will."""
        me = psutil.Process()
        with self._store.change() as table:
            known = reconcile(self.root, table)
            if (me.pid, me.create_time()) not in table.workers():
                table.put_worker(me.pid, me.create_time())
            claimed = [
                replace(e, state=STARTING, pid=me.pid, pid_started=me.create_time(), since=time.time())
                for e in due(list(known.values()), lanes)
            ]
            for entry in claimed:
                table.put(entry)
        return claimed

    def started(self, name: str, process: psutil.Process) -> None:
        """A claimed run has its process."""
        with self._store.change() as table:
            if entry := reconcile(self.root, table).get(name):  # else its folder is gone
                table.put(at_work(entry, process.pid, process.create_time()))
        if entry and entry.wish:  # said while it was starting
            _end(self.run(name))

    def not_started(self, name: str, reason: str) -> None:
        """A claimed run could not be started."""
        with self._store.change() as table:
            if entry := reconcile(self.root, table).get(name):  # else its folder is gone
                become(self.root, table, entry, FAILED, reason)

    def leave(self) -> None:
        """This process works the queue no longer."""
        with self._store.change() as table:
            table.remove_worker(os.getpid())

    # ── What all of these share ──

    def _leave(self, name: str, state: str) -> None:
        run = self.run(name)
        with self._store.change() as table:
            allowed = (QUEUED, *AT_WORK) if state == PAUSED else (*WAITING, *AT_WORK)
            entry = self._must(reconcile(self.root, table).get(run.name), run.name, *allowed)
            if entry.state in WAITING:
                become(self.root, table, entry, state)
            else:
                table.put(replace(entry, wish=state))
        if entry.state == RUNNING:
            _end(run)

    def _place(self, table: Table, name: str) -> int:
        return 1 + [entry.name for entry in line(table.entries())].index(name)

    def _must(self, entry: Entry | None, name: str, *states: str) -> Entry:
        if entry is None or entry.state not in states:
            word = entry.state if entry else "not in the queue"
            raise UsageError(f"`{name}` is {word}.", action=f"This is for runs that are {' or '.join(states)}.")
        return entry

    def _must_not(self, entry: Entry | None, *states: str) -> None:
        if entry is not None and entry.state in states:
            raise UsageError(f"`{entry.name}` is {entry.state} already.", action="See `palate queue list`.")


def _end(run: RunFolder) -> None:
    """Let a run save and end: by a signal, or by a note where the system's signals leave no time to save."""
    if os.name == "nt":
        run.request_stop()
    else:
        launch.send(run)
