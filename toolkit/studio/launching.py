"""Starting, queueing, stopping and resuming runs for the pages: each once, however often a button is pressed."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from toolkit.errors import PalateError, UsageError
from toolkit.plan import preflight
from toolkit.queue_reconciling import AT_WORK, WAITING
from toolkit.queue_store import Entry, QueueSettings
from toolkit.queue_worker import POLL_SECONDS, Worker
from toolkit.run_folder import QUEUED, RunFolder
from toolkit.run_queue import Queue, line
from toolkit.studio import reading, recipe_form

REMEMBERED = 1000


class Launcher:
    """Queues runs below one root, and works that queue once it was asked to start something."""

    def __init__(self, root: Path) -> None:
        """root: the folder of all runs."""
        self.root = root
        self.queue = Queue(root)
        self._worker = Worker(self.queue)
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._made: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self.actions: dict[str, Callable[[str], object]] = {
            "pause": self.queue.pause,
            "cancel": self.queue.cancel,
            "resume": self.resume,
            "duplicate": self.duplicate,
            "up": lambda name: self._shift(name, -1),
            "down": lambda name: self._shift(name, 1),
        }

    # ── The queue's work ──

    def open_session(self) -> None:
        """When the Studio opens: what waits from before is paused, or goes on if the user wanted that."""
        self.queue.open_session()
        if any(entry.state not in WAITING or entry.state == QUEUED for entry in self.queue.entries()):
            self.work()

    def work(self) -> None:
        """Start what is due now, and from here on whatever becomes due."""
        self._worker.step()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._keep_working, daemon=True, name="queue")
            self._thread.start()

    def _keep_working(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            with contextlib.suppress(PalateError):  # a full disk or a busy file: tried again
                self._worker.run(watch=True, ended=self._ended)

    def close(self) -> None:
        """Work the queue no longer. What runs, runs on."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def free_lanes(self) -> list[str]:
        """The lanes that no run has taken."""
        leased = {lane for entry in self.queue.entries() if entry.state in AT_WORK for lane in entry.lanes}
        return [lane for lane in self._worker.lanes if lane not in leased]

    # ── What the pages ask for; each raises UsageError when it cannot be, and then nothing was done ──

    def start(self, content: str, ticket: str) -> str:
        """Queue a run of this YAML before all others and return its name; the same ticket gives the same run."""
        return self._make(content, ticket, first=True)[0]

    def enqueue(self, content: str, ticket: str) -> tuple[str, int]:
        """Queue a run behind all others. Returns its name and its place, 0 when it has started already."""
        return self._make(content, ticket, first=False)

    def _make(self, content: str, ticket: str, *, first: bool) -> tuple[str, int]:
        with self._lock:
            if ticket and ticket in self._made:
                return self._made[ticket]
            recipe = recipe_form.parse(content)
            preflight(recipe, self.root)
            run = RunFolder.create(self.root, recipe)
            self.queue.add(run.name, first=first)
            self.work()
            waiting = [entry.name for entry in line(self.queue.entries())]
            made = (run.name, waiting.index(run.name) + 1 if run.name in waiting else 0)
            self._made[ticket] = made
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
            return made

    def act(self, what: str, name: str) -> None:
        """One of `actions` on a run of this folder."""
        if what not in self.actions:
            raise UsageError(f"“{what}” is nothing that can be done to a run.", action="Reload the page.")
        self.actions[what](reading.find(self.root, name).name)

    def resume(self, name: str) -> None:
        """Go on from the last checkpoint, or start next; a run that is already at work is left alone."""
        with self._lock:
            run = reading.find(self.root, name)
            if reading.view(run).can_resume:
                entry = self._entry(name)
                if entry and entry.state == QUEUED:
                    self.queue.move(name, 1)
                else:
                    self.queue.resume(name)
                self.work()

    def resume_all(self) -> None:
        """Every paused run goes back into the line, and the line is worked."""
        with self._lock:
            self.queue.resume_all()
            self.work()

    def duplicate(self, name: str) -> None:
        """Queue another run of that recipe."""
        self.queue.duplicate(name)
        self.work()

    def _shift(self, name: str, places: int) -> None:
        waiting = [entry.name for entry in line(self.queue.entries())]
        if name not in waiting:
            raise UsageError(f"“{name}” waits no longer.", action="The list shows how it stands now.")
        self.queue.move(name, waiting.index(name) + 1 + places)

    def _entry(self, name: str) -> Entry | None:
        return next((entry for entry in self.queue.entries() if entry.name == name), None)

    def stop(self, name: str) -> None:
        """Ask a run to end at its next update. Raises UsageError when there is no such run."""
        reading.find(self.root, name).request_stop()

    def request(self, name: str, wish: str) -> None:
        """Ask a run at work for pictures or a checkpoint. Raises UsageError when there is none, or it has ended."""
        run = reading.find(self.root, name)
        if not run.state().is_active:
            raise UsageError("The run has ended: nothing can be asked of it.", action="Resume it first.")
        run.request(wish)

    def start_after_restart(self, wanted: bool) -> None:
        """Whether waiting runs start by themselves when the Studio is opened again."""
        self.queue.set_settings(QueueSettings(start_after_restart=bool(wanted)))
