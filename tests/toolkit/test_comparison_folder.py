"""Requests on disk: asked once, drawn by one process, interrupted when it is gone, and kept within bounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from toolkit import comparison_folder, recipe
from toolkit.comparison import Comparison, check
from toolkit.comparison_folder import ComparisonFolder, Comparisons
from toolkit.errors import UsageError
from toolkit.run_folder import DONE, FAILED, INTERRUPTED, QUEUED, RUNNING, STOPPED, RunFolder

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def comparisons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Comparisons]:
    """Over one run; its workers are real processes that draw nothing."""
    run = RunFolder.create(
        tmp_path / "runs", recipe.parse({"name": "taste"} | {"words": {"positive": "a", "negative": "b"}})
    )
    run.lora.mkdir()
    (run.lora / "taste.safetensors").write_bytes(b"lora")
    monkeypatch.setattr(comparison_folder, "worker_command", lambda *_: SLEEPER)
    made = Comparisons(tmp_path / "runs")
    yield made
    end_worker(made)


def wish(prompt: str = "a dog") -> Comparison:
    return check(columns=[{}, {"run": "taste"}], prompts=[prompt])


def worker(comparisons: Comparisons) -> psutil.Process:
    return psutil.Process(json.loads(comparisons.worker_file.read_text())["pid"])


def end_worker(comparisons: Comparisons) -> None:
    if comparisons.worker_file.exists():
        try:
            process = worker(comparisons)
            process.kill()
            process.wait(10)
        except psutil.NoSuchProcess:
            pass


def later(folder: ComparisonFolder) -> None:
    """As if the request had been made a while ago."""
    raw = folder.raw_state()
    folder.state_file.write_text(json.dumps(raw | {"time": raw["time"] - 60}))


def test_a_request_waits_for_one_worker_however_often_it_is_made(comparisons: Comparisons) -> None:
    first = comparisons.ask(wish())
    process = worker(comparisons)
    assert comparisons.ask(wish()).path == first.path
    second = comparisons.ask(wish("a cat"))
    assert worker(comparisons).pid == process.pid
    assert [folder.name for folder in comparisons.waiting()] == [first.name, second.name]
    later(first)
    assert comparisons.progress(first).status == QUEUED


def test_what_waits_for_a_worker_that_is_gone_is_interrupted_and_can_be_retried(comparisons: Comparisons) -> None:
    folder = comparisons.ask(wish())
    end_worker(comparisons)
    assert comparisons.progress(folder).is_active, "its successor may just be starting"
    later(folder)
    assert comparisons.progress(folder).status == INTERRUPTED
    comparisons.retry(folder.name)
    assert comparisons.progress(folder).status == QUEUED
    assert worker(comparisons).is_running()


def test_what_a_killed_worker_was_drawing_is_interrupted(comparisons: Comparisons) -> None:
    folder = comparisons.ask(wish())
    folder.write_state(RUNNING, process=worker(comparisons))
    assert comparisons.progress(folder).status == RUNNING
    end_worker(comparisons)
    assert comparisons.progress(folder).status == INTERRUPTED
    assert comparisons.ask(wish()).name == folder.name
    assert comparisons.progress(folder).status == QUEUED, "asking again is another try"


@pytest.mark.parametrize("status", [STOPPED, FAILED])
def test_what_ended_early_says_so_until_it_is_retried(comparisons: Comparisons, status: str) -> None:
    folder = comparisons.ask(wish())
    folder.write_state(status, "A sentence.")
    progress = comparisons.progress(folder)
    assert (progress.status, progress.message, progress.can_retry) == (status, "A sentence.", True)
    comparisons.retry(folder.name)
    assert comparisons.progress(folder).status == QUEUED


def test_what_is_done_is_not_drawn_again(comparisons: Comparisons) -> None:
    folder = comparisons.ask(wish())
    folder.write_state(DONE)
    end_worker(comparisons)
    comparisons.ask(wish())
    comparisons.retry(folder.name)
    comparisons.stop(folder.name)
    assert comparisons.progress(folder).status == DONE
    assert comparisons.waiting() == []


def test_the_oldest_make_room_but_never_one_at_work(comparisons: Comparisons, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison_folder, "KEPT", 2)
    folders = []
    for number in range(4):
        folder = comparisons.ask(wish(f"prompt {number}"))
        os.utime(folder.request_file, (number + 1, number + 1))
        if number:
            folder.write_state(DONE)
        folders.append(folder)
    comparisons.ask(wish("one more"))
    assert folders[0].request_file.exists(), "it still waits"
    assert not folders[1].path.exists()
    assert folders[3].request_file.exists()


@pytest.mark.parametrize("name", ["", "..", "../taste", "taste", "0" * 16, "0123456789ABCDEF", "a" * 17])
def test_no_name_leads_anywhere_else(comparisons: Comparisons, name: str) -> None:
    comparisons.ask(wish())
    for action in (comparisons.find, comparisons.retry, comparisons.stop):
        with pytest.raises(UsageError, match="not here any more"):
            action(name)


def test_a_damaged_request_is_said_in_words(comparisons: Comparisons) -> None:
    folder = comparisons.ask(wish())
    folder.request_file.write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        folder.request()


def test_the_command_of_the_worker_is_one_that_the_backend_knows(tmp_path: Path) -> None:
    """The real worker, with nothing to draw and no patience."""
    from toolkit import launch

    command = [sys.executable, "-m", "training", "draw", str(tmp_path), "--idle", "0"]
    assert comparison_folder.worker_command(tmp_path, 0) == command
    began = time.monotonic()
    done = subprocess.run(command, env=launch.environment(), capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, time.monotonic() - began < 300) == (0, True), done.stderr
    assert not (tmp_path / "compare" / "worker.json").exists()
