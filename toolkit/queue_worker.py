"""Starting what is due in a queue. The Studio does so in a thread, `palate queue run` in a terminal; several may work
one queue, and when all of them end, the runs go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from subprocess import Popen

import psutil

from toolkit import lanes, launch
from toolkit.errors import PalateError
from toolkit.queue_reconciling import AT_WORK
from toolkit.queue_store import Entry
from toolkit.run_folder import QUEUED
from toolkit.run_queue import Queue

POLL_SECONDS = 1.0


class Worker:
    """Works one queue on some lanes of this machine."""

    def __init__(self, queue: Queue, on: Sequence[str] | None = None) -> None:
        """on: the lanes; this machine's, when not given."""
        self.queue = queue
        self._lanes = on
        self._children: list[Popen[bytes]] = []
        self._lock = threading.Lock()

    @property
    def lanes(self) -> Sequence[str]:
        """The lanes that it gives to runs; found out when first needed."""
        if self._lanes is None:
            self._lanes = lanes.discover()
        return self._lanes

    def step(self) -> list[Entry]:
        """Start everything that is due now. Returns it, the runs that could not be started too."""
        with self._lock:
            self._children = [child for child in self._children if child.poll() is None]  # leaves no zombies
            claimed = self.queue.claim(self.lanes)
            for entry in claimed:
                self._start(entry)
            return claimed

    def _start(self, entry: Entry) -> None:
        gpus = [lane for lane in entry.lanes if lane != lanes.CPU]
        try:
            run = self.queue.run(entry.name)
            child = launch.start(run, processes=max(1, len(gpus)), env=lanes.environment(entry.lanes))
        except (PalateError, OSError) as error:
            self.queue.not_started(entry.name, str(error))
            return
        self._children.append(child)
        self.queue.started(entry.name, psutil.Process(child.pid))

    def is_idle(self) -> bool:
        """Whether nothing is at work and nothing waits that these lanes could take."""
        return not any(
            entry.state in AT_WORK or (entry.state == QUEUED and entry.gpus <= len(self.lanes))
            for entry in self.queue.entries()
        )

    def run(
        self, *, watch: bool = False, ended: threading.Event | None = None, say: Callable[[Entry], None] | None = None
    ) -> None:
        """Step until everything has ended, or with `watch` until `ended` is set.

        say: is told of every run that was started.
        """
        ended = ended or threading.Event()
        try:
            while True:
                for entry in self.step():
                    if say:
                        say(entry)
                if not watch and self.is_idle():
                    break
                if ended.wait(POLL_SECONDS):
                    break
        finally:
            self.queue.leave()
