"""Runs in a queue whose training process is a stand-in: it ends well at once, or sleeps until it is ended."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolkit import launch, recipe
from toolkit.run_folder import RunFolder, all_runs
from toolkit.run_queue import Queue

WORDS = {"positive": "a", "negative": "b"}
# Called as training is, so that it is found as training is. It ends well at once, or sleeps until it is told to end.
STAND_IN = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[-1])
with (folder / "starts").open("a") as file: file.write("x")
if not (folder / "long").exists():
    state = json.loads((folder / "state.json").read_text())
    time.sleep(0.3)  # until the starter has noted the process
    (folder / "state.json").write_text(json.dumps({**state, "status": "done", "pid": 0, "update": 9}))
else:
    time.sleep(600)
"""


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    queue = Queue(tmp_path / "runs")
    yield queue
    for run in all_runs(queue.root):
        launch.send(run, signal.SIGKILL)


@pytest.fixture
def make(queue: Queue) -> Callable[..., RunFolder]:
    def make(name: str = "taste", *, long: bool = True) -> RunFolder:
        run = RunFolder.create(queue.root, recipe.parse({"name": name, "words": WORDS, "training": {"updates": 9}}))
        if long:
            (run.path / "long").touch()
        return run

    return make


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What launch starts instead of training."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(
        launch,
        "command",
        lambda run, processes: [sys.executable, str(script), "-m", "training", "train", str(run.path)],
    )
