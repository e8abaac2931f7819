"""Real processes on one folder: no run is started twice, whoever is killed at whatever moment; and real training."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import toolkit
from toolkit import launch, queue_reconciling, recipe
from toolkit.queue_worker import Worker
from toolkit.run_folder import DONE, RunFolder
from toolkit.run_queue import Queue

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(toolkit.__file__).parents[1]
RUNS, WORKERS = 12, 3
Make = Callable[..., RunFolder]
# The moments at which a worker may die: before it has a process, with one that nobody knows of, with one that only the
# run's folder knows of.
MOMENTS = {
    "claimed": "subprocess.Popen = die",
    "unnoted": "RunFolder.write_state = lambda run, status, **f: die() if f.get('pid') else write(run, status, **f)",
    "unsaid": "Queue.started = die",
}
DYING = """
import os, pathlib, signal, subprocess, sys
from toolkit import launch
from toolkit.queue_worker import Worker
from toolkit.run_folder import RunFolder
from toolkit.run_queue import Queue
write = RunFolder.write_state
launch.command = lambda run, processes: [sys.executable, {script!r}, "-m", "training", "train", str(run.path)]
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
{moment}
Worker(Queue(pathlib.Path({root!r})), ["cpu"]).step()
"""


def work(root: str, script: str, lanes: list[str], begin: Any) -> None:
    launch.command = lambda run, processes: [sys.executable, script, "-m", "training", "train", str(run.path)]
    begin.wait()
    Worker(Queue(Path(root)), lanes).run()


def starts(queue: Queue) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in queue.root.glob("*/starts")}


@pytest.mark.usefixtures("stand_in")
def test_workers_that_race_start_every_run_once(queue: Queue, make: Make, tmp_path: Path) -> None:
    names = [make(long=False).name for _ in range(RUNS)]
    for name in names:
        queue.add(name)
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(WORKERS)
    arguments = (str(queue.root), str(tmp_path / "stand_in.py"), ["0", "1"], begin)
    workers = [context.Process(target=work, args=arguments) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(600)
        assert worker.exitcode == 0
    assert starts(queue) == dict.fromkeys(names, "x")
    assert {entry.state for entry in queue.entries()} == {DONE}


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_killed_while_starting_leaves_a_run_that_is_started_once(
    queue: Queue, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    run = make(long=False)
    queue.add(run.name)
    code = DYING.format(script=str(tmp_path / "stand_in.py"), root=str(queue.root), moment=MOMENTS[moment])
    died = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert died.returncode == -signal.SIGKILL
    assert queue.entries()[0].state == "starting"
    monkeypatch.setattr(queue_reconciling, "GRACE", 2.0)
    worker = Worker(queue, ["cpu"])
    deadline = time.monotonic() + 300
    while not worker.is_idle():
        worker.step()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert starts(queue) == {run.name: "x"}


def tiny(root: Path, name: str, updates: int = 2) -> str:
    prompts = root.parent / "two.txt"
    prompts.write_text("a dog\na deer\n", encoding="utf-8")
    tree = yaml.safe_load((ROOT / "recipes" / "demo.yaml").read_text(encoding="utf-8"))
    tree["name"], tree["prompts"] = name, {"validation": str(prompts)}
    tree["method"] |= {"rollout_steps": 2}
    tree["training"] |= {"updates": updates, "batch_size": 1}
    tree["validation"] |= {"every": 1, "steps": 2, "previews": 1, "patience": updates}
    tree["optimizer"] = {"learning_rate": 1e-6}  # or a guard ends it
    return RunFolder.create(root, recipe.parse(tree)).name


def test_real_runs_go_through_the_lane_and_a_paused_one_goes_on(queue: Queue) -> None:
    long, short = tiny(queue.root, "long", updates=40), tiny(queue.root, "short")
    queue.add(long)
    queue.add(short)
    worker, run = Worker(queue, ["cpu"]), RunFolder(queue.root / long)
    deadline = time.monotonic() + 600
    while not run.checkpoint_updates():
        worker.step()
        assert time.monotonic() < deadline, run.log_file.read_text()[-2000:]
        time.sleep(0.2)
    queue.pause(long)
    worker.run()  # the short one, once the long one has saved and let go of the lane
    states = {entry.name: entry.state for entry in queue.entries()}
    assert states == {long: "paused", short: DONE}, run.log_file.read_text()[-2000:]
    paused_at = run.state().update
    assert run.state().message == f"Paused at update {paused_at}. Resume goes on from there."
    queue.resume(long)
    worker.run()
    assert (run.state().status, run.state().update) == (DONE, 40)
    updates = [event["update"] for event in run.events("update")]
    assert updates == list(range(1, 41))
    assert run.lora_files()
