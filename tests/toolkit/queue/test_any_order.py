"""Whatever is asked in whatever order, and wherever the worker dies: no run has two processes, no GPU two runs, nobody
is overtaken by what is behind, and in the end everybody had a turn.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from toolkit import recipe
from toolkit.errors import UsageError
from toolkit.queue_reconciling import AT_WORK, STARTING, WAITING
from toolkit.queue_store import Entry, QueueSettings, Table
from toolkit.run_folder import CANCELLED, DONE, FAILED, PAUSED, QUEUED, RUNNING, RunFolder
from toolkit.run_queue import Queue, line

LANES = ("0", "1", "2")
RECIPE = recipe.parse({"name": "r", "words": {"positive": "a", "negative": "b"}})
# As training is called, so that it is found as training is; it waits on a pipe that this process holds.
BLOCKED = ["sh", "-c", "read line", "sh", "-m", "training", "train"]


class Crash(Exception):
    """The power cut."""


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.queue = Queue(Path(self.folder.name))
        self.processes: dict[str, list[subprocess.Popen[bytes]]] = {}
        self.order: list[str] = []

    def teardown(self) -> None:
        self.everybody_gets_a_turn()
        for children in self.processes.values():
            for child in children:
                self.kill(child)
        self.folder.cleanup()

    # ── What is asked ──

    @initialize()
    def first(self) -> None:
        self.add(0, 1, first=False)

    @rule(priority=st.integers(-2, 2), gpus=st.integers(1, 4), first=st.booleans())
    def add(self, priority: int, gpus: int, first: bool) -> None:
        self.settle()
        run = RunFolder.create(self.queue.root, RECIPE)
        self.processes[run.name] = []
        place = self.queue.add(run.name, priority=priority, gpus=gpus, first=first)
        assert place == 1 or not first
        self.order.insert(place - 1, run.name)

    @rule(data=st.data(), what=st.sampled_from(["pause", "cancel", "resume"]), crash=st.booleans())
    def ask(self, data: st.DataObject, what: str, crash: bool) -> None:
        self.settle()
        name = self.some(data)
        before, children = self.states(), self.alive(name)
        try:
            if crash:
                with mock.patch.object(Table, "put", side_effect=Crash):
                    getattr(self.queue, what)(name)
            else:
                getattr(self.queue, what)(name)
        except UsageError:  # not in a state for this
            return
        except Crash:
            self.queue.claim(())  # anybody's next look
            assert self.states() == before
            return
        if self.states()[name] == RUNNING and what != "resume":
            for child in children:
                child.wait(60)  # it was told to end
            self.settle()
            assert self.states()[name] == {"pause": PAUSED, "cancel": CANCELLED}[what]
        self.sync(name)

    @rule(data=st.data(), place=st.integers(-1, 9))
    def move(self, data: st.DataObject, place: int) -> None:
        self.settle()
        name = self.some(data)
        try:
            at = self.queue.move(name, place)
        except UsageError:
            assert name not in self.order
            return
        assert at == min(max(place, 1), len(self.order))
        self.order.remove(name)
        self.order.insert(at - 1, name)

    @rule(data=st.data())
    def duplicate(self, data: st.DataObject) -> None:
        self.settle()
        copy = self.queue.duplicate(self.some(data))
        self.processes[copy] = []
        self.sync(copy)

    # ── What happens ──

    @rule(survive=st.integers(0, 4))
    def work(self, survive: int) -> None:
        """A worker claims, brings processes to life, notes them and says so; after `survive` of these it dies."""
        self.settle()
        claimed = self.queue.claim(LANES)
        self.check_fairness(claimed)
        for entry in claimed:
            run = RunFolder(self.queue.root / entry.name)
            assert self.alive(entry.name) == []
            if survive >= 1:
                child = subprocess.Popen([*BLOCKED, str(run.path)], stdin=subprocess.PIPE)
                self.processes[entry.name].append(child)
                if survive >= 2:
                    run.write_state(QUEUED, pid=child.pid, pid_started=psutil.Process(child.pid).create_time())
                if survive >= 3:
                    self.queue.started(entry.name, psutil.Process(child.pid))
                if survive >= 4:
                    run.write_state(
                        RUNNING, pid=child.pid, pid_started=psutil.Process(child.pid).create_time(), update=3
                    )
            self.sync(entry.name)
        if survive < 4:
            self.worker_dies()

    @rule()
    def worker_dies(self) -> None:
        """Its id lives on in another process: that one started later. Long enough ago for the grace to be over."""
        with self.queue._store.change() as table:
            for entry in table.entries():
                if entry.state == STARTING:
                    table.put(replace(entry, pid_started=1.0, since=1.0))
            for pid, _started in table.workers():
                table.put_worker(pid, 1.0)

    @rule(data=st.data(), status=st.sampled_from([DONE, FAILED, RUNNING]))
    @precondition(lambda self: any(self.alive(name) for name in self.processes))
    def process_ends(self, data: st.DataObject, status: str) -> None:
        name = data.draw(st.sampled_from(sorted(name for name in self.processes if self.alive(name))))
        self.end(name, status)

    @rule(start=st.booleans())
    def studio_restarts(self, start: bool) -> None:
        self.queue.set_settings(QueueSettings(start_after_restart=start))
        self.worker_dies()
        Queue(self.queue.root).open_session()
        self.settle()
        if not start:
            assert QUEUED not in self.states().values()

    # ── What holds ──

    @invariant()
    def no_run_has_two_processes(self) -> None:
        assert all(len(self.alive(name)) <= 1 for name in self.processes)

    @invariant()
    def no_lane_has_two_runs(self) -> None:
        leased = [lane for entry in self.queue.entries() for lane in entry.lanes]
        assert len(leased) == len(set(leased))
        assert all(len(entry.lanes) == 0 for entry in self.queue.entries() if entry.state not in AT_WORK)

    @invariant()
    def the_line_is_as_asked(self) -> None:
        entries = line(self.queue.entries())
        assert [entry.name for entry in entries] == self.order
        assert [e.priority for e in entries] == sorted((e.priority for e in entries), reverse=True)

    @invariant()
    def the_folders_say_the_same(self) -> None:
        for entry in self.queue.entries():
            if entry.state in (*WAITING, CANCELLED):
                assert RunFolder(self.queue.root / entry.name).state().status == entry.state

    def check_fairness(self, claimed: list[Entry]) -> None:
        """Whoever waits behind somebody that did not fit was not taken."""
        names = {entry.name for entry in claimed}
        left = [e for e in line(self.queue.entries()) if e.state == QUEUED and e.gpus <= len(LANES)]
        for entry in left:
            before = self.order[: self.order.index(entry.name)]
            assert names <= set(before)

    def everybody_gets_a_turn(self) -> None:
        self.worker_dies()
        for _ in range(3 * len(self.processes)):
            self.work(4)
            for name in self.processes:
                if self.alive(name):
                    self.end(name, DONE)
        self.queue.claim(())
        waiting = [entry for entry in self.queue.entries() if entry.state not in (DONE, FAILED, CANCELLED, PAUSED)]
        assert all(e.state == "interrupted" or (e.state == QUEUED and e.gpus > len(LANES)) for e in waiting), waiting

    # ── Means ──

    def states(self) -> dict[str, str]:
        return {entry.name: entry.state for entry in self.queue.entries()}

    def some(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.processes)))

    def alive(self, name: str) -> list[subprocess.Popen[bytes]]:
        return [child for child in self.processes[name] if child.poll() is None]

    def settle(self) -> None:
        """Let the queue look at what became of processes, and let the model follow those that left or re-entered."""
        self.queue.claim(())
        waiting = {entry.name for entry in line(self.queue.entries())}
        for name in self.states():
            if (name in waiting) != (name in self.order):
                self.sync(name)

    def sync(self, name: str) -> None:
        """Let the model follow one run, whose place is the queue's to decide; all others stay in order."""
        waiting = [entry.name for entry in line(self.queue.entries())]
        self.order = [other for other in self.order if other != name]
        if name in waiting:
            before = waiting[: waiting.index(name)]
            self.order.insert(len([other for other in self.order if other in before]), name)

    def end(self, name: str, status: str) -> None:
        """status: the last word; `running` when it could not say one."""
        (child,) = self.alive(name)
        run, facts = RunFolder(self.queue.root / name), dict[str, Any]()
        if status != RUNNING:
            facts = {"pid": 0}
        elif not run.state().pid:
            facts = {"pid": child.pid, "pid_started": psutil.Process(child.pid).create_time()}
        run.write_state(status, **facts)
        self.kill(child)
        self.settle()

    def kill(self, child: subprocess.Popen[bytes]) -> None:
        child.send_signal(signal.SIGKILL)
        child.wait()
        if child.stdin:
            child.stdin.close()


Machine.TestCase.settings = settings(max_examples=10, stateful_step_count=15)
TestAnyOrder = Machine.TestCase
