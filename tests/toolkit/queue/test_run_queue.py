"""What waits, in which order it may start, and what becomes of it when processes die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from toolkit import launch, queue_reconciling
from toolkit.errors import PalateError, UsageError
from toolkit.queue_store import Entry, QueueSettings
from toolkit.queue_worker import Worker
from toolkit.run_folder import CANCELLED, DONE, FAILED, INTERRUPTED, PAUSED, QUEUED, RUNNING, STOPPED, RunFolder
from toolkit.run_queue import Queue, due, line

Make = Callable[..., RunFolder]


def states(queue: Queue) -> dict[str, str]:
    return {entry.name: entry.state for entry in queue.entries()}


def order(queue: Queue) -> list[str]:
    return [entry.name for entry in line(queue.entries())]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ── The order ──


def test_higher_priority_goes_first_then_who_came_first(queue: Queue, make: Make) -> None:
    for name, priority in (("early", 0), ("late", 0), ("urgent", 5), ("idle", -1)):
        queue.add(make(name).name, priority=priority)
    assert order(queue) == ["urgent", "early", "late", "idle"]
    assert queue.add(make("now").name, first=True) == 1
    assert order(queue) == ["now", "urgent", "early", "late", "idle"]


def test_a_moved_run_takes_on_the_priority_of_its_new_place(queue: Queue, make: Make) -> None:
    for name, priority in (("a", 5), ("b", 5), ("c", 0), ("d", 0)):
        queue.add(make(name).name, priority=priority)
    assert queue.move("d", 2) == 2
    assert order(queue) == ["a", "d", "b", "c"]
    assert queue.move("a", 99) == 4
    assert order(queue) == ["d", "b", "c", "a"]
    priorities = [entry.priority for entry in line(queue.entries())]
    assert priorities == sorted(priorities, reverse=True)


def test_a_run_for_two_gpus_is_not_overtaken_and_one_for_too_many_blocks_nobody() -> None:
    entries = [Entry("busy", RUNNING, 0, 1, 1, ("0",)), Entry("huge", QUEUED, 9, 2, 8)]
    entries += [Entry("two", QUEUED, 0, 3, 2), Entry("one", QUEUED, 0, 4, 1)]
    assert due(entries, ["0", "1"]) == []  # `one` would fit on GPU 1, and `two` would never start
    assert [(e.name, e.lanes) for e in due(entries[1:], ["0", "1"])] == [("two", ("0", "1"))]
    assert [(e.name, e.lanes) for e in due(entries, ["0", "1", "2"])] == [("two", ("1", "2"))]


def test_a_paused_run_keeps_its_place_and_does_not_start(queue: Queue, make: Make) -> None:
    for name in ("a", "b", "c"):
        queue.add(make(name).name)
    queue.pause("a")
    assert order(queue) == ["a", "b", "c"]
    assert [entry.name for entry in due(queue.entries(), ["cpu"])] == ["b"]
    assert queue.resume("a") == 1
    assert [entry.name for entry in due(queue.entries(), ["cpu"])] == ["a"]


# ── What is said in the run's own folder ──


def test_the_run_says_what_the_queue_decided(queue: Queue, make: Make) -> None:
    run = make()
    queue.add(run.name)
    queue.pause(run.name)
    assert (run.state().status, run.state().message) == (PAUSED, "Paused before it started.")
    queue.resume(run.name)
    assert (run.state().status, run.state().message) == (QUEUED, "")
    run.write_state(QUEUED, update=4)
    queue.cancel(run.name)
    assert (run.state().status, run.state().message) == (CANCELLED, "Cancelled at update 4.")
    assert order(queue) == []
    assert queue.resume(run.name) == 1


def test_a_duplicate_has_the_same_recipe_and_a_name_of_its_own(queue: Queue, make: Make) -> None:
    run = make()
    queue.add(run.name, priority=3, gpus=2)
    assert queue.duplicate(run.name) == "taste-2"
    assert RunFolder(queue.root / "taste-2").recipe() == run.recipe()
    assert [(e.name, e.priority, e.gpus) for e in line(queue.entries())] == [("taste", 3, 2), ("taste-2", 3, 2)]


# ── Refusals ──


def test_what_cannot_be_is_refused_in_words(queue: Queue, make: Make, tmp_path: Path) -> None:
    run, done = make(), make("done")
    done.write_state(DONE)
    queue.add(run.name)
    refused: dict[str, Callable[[], object]] = {
        "queued already": lambda: queue.add(run.name),
        "is done": lambda: queue.add(done.name),
        "no run `other`": lambda: queue.cancel("other"),
        "not in the queue": lambda: queue.pause(done.name),
        "out of range": lambda: queue.add(done.name, gpus=0),
    }
    for sentence, action in refused.items():
        with pytest.raises(UsageError, match=sentence):
            action()
    queue.pause(run.name)
    with pytest.raises(UsageError, match="is paused"):
        queue.pause(run.name)
    outside = RunFolder.create(tmp_path / "elsewhere", run.recipe())
    with pytest.raises(UsageError, match="lies outside"):
        queue.add(str(outside.path))


def test_a_damaged_file_is_said_and_the_runs_stay(queue: Queue, make: Make) -> None:
    run = make()
    (queue.root / "queue.sqlite").write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    for action in (queue.entries, lambda: queue.add(run.name)):
        with pytest.raises(PalateError, match=r"queue\.sqlite` cannot be used"):
            action()
    assert run.state().status == QUEUED


def test_looking_writes_nothing(queue: Queue, make: Make) -> None:
    make()
    assert (queue.entries(), queue.is_worked(), queue.settings()) == ([], False, QueueSettings())
    queue.open_session()
    assert not (queue.root / "queue.sqlite").exists()


# ── Processes ──


@pytest.mark.usefixtures("stand_in")
def test_runs_go_through_one_lane_one_after_the_other(queue: Queue, make: Make) -> None:
    for name in ("a", "b"):
        queue.add(make(name, long=False).name)
    worker = Worker(queue, ["cpu"])
    assert [entry.name for entry in worker.step()] == ["a"]
    assert states(queue) == {"a": RUNNING, "b": QUEUED}
    assert queue.is_worked()
    worker.run()
    assert states(queue) == {"a": DONE, "b": DONE}
    assert not queue.is_worked()
    assert [(queue.root / name / "starts").read_text() for name in "ab"] == ["x", "x"]
    mine = [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]
    assert mine == []


@pytest.mark.usefixtures("stand_in")
def test_a_lanes_process_sees_its_gpus_alone(queue: Queue, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []
    start = launch.start
    monkeypatch.setattr(launch, "start", lambda run, processes, env: (seen.append(env), start(run, env=env))[1])
    for name in ("a", "b"):
        queue.add(make(name).name)
    assert len(Worker(queue, ["0", "3"]).step()) == 2
    assert [env["CUDA_VISIBLE_DEVICES"] for env in seen] == ["0", "3"]
    child = psutil.Process(RunFolder(queue.root / "b").state().pid)
    assert child.environ()["CUDA_VISIBLE_DEVICES"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("action", "word"), [("pause", PAUSED), ("cancel", CANCELLED)])
def test_a_run_at_work_ends_as_wished_and_the_next_one_starts(queue: Queue, make: Make, action: str, word: str) -> None:
    for name in ("a", "b"):
        queue.add(make(name).name)
    worker = Worker(queue, ["cpu"])
    worker.step()
    getattr(queue, action)("a")
    assert states(queue)["a"] == RUNNING  # until its process is gone, its lane is not free
    wait_for(worker.step)
    assert states(queue) == {"a": word, "b": RUNNING}
    assert RunFolder(queue.root / "a").state().status == word


@pytest.mark.usefixtures("stand_in")
def test_a_run_whose_process_died_is_interrupted_and_can_be_resumed(queue: Queue, make: Make) -> None:
    run = make()
    queue.add(run.name)
    worker = Worker(queue, ["cpu"])
    worker.step()
    run.write_state(RUNNING, update=5)
    os.kill(run.state().pid, signal.SIGKILL)
    wait_for(lambda: worker.step() == [] and states(queue)["taste"] == INTERRUPTED)
    assert "Interrupted at update 5" in run.state().message
    queue.resume(run.name)
    assert [entry.name for entry in worker.step()] == ["taste"]


@pytest.mark.usefixtures("stand_in")
def test_a_run_resumed_while_its_process_is_still_ending_starts_right_after(queue: Queue, make: Make) -> None:
    run = make()
    queue.add(run.name)
    worker = Worker(queue, ["cpu"])
    worker.step()
    first = run.state().pid
    run.write_state(STOPPED, pid=0)  # its last word
    assert queue.resume(run.name) == 0
    assert worker.step() == []
    os.kill(first, signal.SIGKILL)
    wait_for(worker.step)
    assert states(queue) == {"taste": RUNNING}
    assert run.state().pid != first


@pytest.mark.usefixtures("stand_in")
def test_a_reused_process_id_holds_no_lease(queue: Queue, make: Make) -> None:
    """Every id in the queue's file and in the run's folder belongs to a living process: this one, which is younger."""
    run = make()
    queue.add(run.name)
    worker = Worker(queue, ["cpu"])
    worker.step()
    os.kill(run.state().pid, signal.SIGKILL)
    stranger = {"pid": os.getpid(), "pid_started": 1000.0}
    run.write_state(RUNNING, **stranger)
    with queue._store.change() as table:
        (entry,) = table.entries()
        table.put(Entry(entry.name, RUNNING, 0, 1, 1, ("cpu",), **stranger))
        table.put_worker(os.getpid(), 1000.0)
    assert not queue.is_worked()
    queue.add(make("next").name)
    worker.step()
    assert states(queue) == {"taste": INTERRUPTED, "next": RUNNING}


@pytest.mark.usefixtures("stand_in")
def test_a_run_that_cannot_be_started_says_why_and_lets_the_next_one_go(queue: Queue, make: Make) -> None:
    bad = make("bad")
    bad.log_file.mkdir()
    queue.add(bad.name)
    queue.add(make("good").name)
    worker = Worker(queue, ["cpu"])
    worker.step()
    worker.step()
    assert states(queue) == {"bad": FAILED, "good": RUNNING}
    assert "cannot be written" in bad.state().message


@pytest.mark.usefixtures("stand_in")
def test_a_run_started_past_the_queue_is_not_started_again(queue: Queue, make: Make) -> None:
    run = make()
    queue.add(run.name)
    launch.start(run)
    assert Worker(queue, ["cpu"]).step() == []
    assert states(queue) == {"taste": RUNNING}


@pytest.mark.usefixtures("stand_in")
def test_a_process_that_its_dead_starter_never_noted_is_found(queue: Queue, make: Make) -> None:
    run = make()
    queue.add(run.name)
    (claimed,) = queue.claim(["cpu"])
    child = launch.start(run)
    run.write_state(QUEUED, pid=0)  # as if the starter had died right after the process came to life
    dead = Entry(run.name, "starting", 0, 1, 1, ("cpu",), pid=child.pid, pid_started=1.0, since=claimed.since - 99)
    with queue._store.change() as table:
        table.put(dead)
    assert Worker(queue, ["cpu"]).step() == []
    assert states(queue) == {"taste": RUNNING}
    assert run.state().pid == child.pid


def test_a_starter_that_died_before_there_was_a_process_leaves_the_run_in_the_line(
    queue: Queue, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add(make().name)
    (claimed,) = queue.claim(["cpu"])
    with queue._store.change() as table:
        table.put(Entry("taste", "starting", 0, 1, 1, ("cpu",), pid=os.getpid(), pid_started=1.0, since=claimed.since))
    assert queue.claim(["cpu"]) == []  # its process might still be coming to life
    monkeypatch.setattr(queue_reconciling, "GRACE", -1.0)
    assert [entry.name for entry in queue.claim(["cpu"])] == ["taste"]


# ── Restarts ──


def test_what_waited_before_a_restart_starts_only_if_the_user_said_so(queue: Queue, make: Make) -> None:
    for name in ("a", "b"):
        queue.add(make(name).name)
    Queue(queue.root).open_session()
    assert states(queue) == {"a": PAUSED, "b": PAUSED}
    assert queue.resume_all() == 2
    queue.set_settings(QueueSettings(start_after_restart=True))
    Queue(queue.root).open_session()
    assert states(queue) == {"a": QUEUED, "b": QUEUED}


def test_a_second_studio_pauses_nothing_while_the_first_works(queue: Queue, make: Make) -> None:
    queue.add(make("a").name)
    queue.add(make("b").name)
    queue.claim(["cpu"])
    Queue(queue.root).open_session()
    assert states(queue)["b"] == QUEUED


def test_a_folder_that_was_deleted_leaves_the_line(queue: Queue, make: Make) -> None:
    run = make("gone")
    queue.add(run.name)
    queue.add(make("stays").name)
    run.recipe_file.unlink()
    assert [entry.name for entry in queue.claim(["cpu"])] == ["stays"]
    assert states(queue) == {"stays": "starting"}
