import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from toolkit import launch
from toolkit.errors import UsageError
from toolkit.run_folder import CANCELLED, DONE, PAUSED, QUEUED, SAMPLE, STOPPED, RunFolder, all_runs
from toolkit.run_queue import line
from toolkit.studio import recipe_form
from toolkit.studio.launching import Launcher

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of runs that were started; each is a process that sleeps."""
    names: list[str] = []
    children: list[subprocess.Popen[bytes]] = []

    def start(run: RunFolder, **_: Any) -> subprocess.Popen[bytes]:
        names.append(run.name)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        run.write_state(QUEUED, pid=child.pid, pid_started=psutil.Process(child.pid).create_time())
        children.append(child)
        return child

    monkeypatch.setattr(launch, "start", start)
    yield names
    for child in children:
        child.send_signal(signal.SIGKILL)
        child.wait()


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path / "runs")
    yield launcher
    launcher.close()


def order(launcher: Launcher) -> list[str]:
    return [entry.name for entry in line(launcher.queue.entries())]


def test_one_ticket_starts_one_run_however_often_it_is_shown(launcher: Launcher, started: list[str]) -> None:
    names = {launcher.start(recipe_form.first(), "ticket") for _ in range(3)}
    assert (len(names), len(started), len(all_runs(launcher.root))) == (1, 1, 1)
    assert launcher.start(recipe_form.first(), "another") not in names


def test_start_goes_before_all_others_and_queue_behind_them(launcher: Launcher, started: list[str]) -> None:
    first = launcher.start(recipe_form.first(), "first")
    behind, place = launcher.enqueue(recipe_form.first(), "behind")
    before = launcher.start(recipe_form.first(), "before")
    assert (started, place) == ([first], 1)
    assert order(launcher) == [before, behind]
    launcher.act("down", before)
    assert order(launcher) == [behind, before]
    launcher.resume(before)  # of one that waits: next
    assert order(launcher) == [before, behind]
    launcher.act("duplicate", behind)
    assert len(order(launcher)) == 3


def test_what_waits_can_be_paused_resumed_and_cancelled(launcher: Launcher, started: list[str]) -> None:
    launcher.start(recipe_form.first(), "first")
    name, _ = launcher.enqueue(recipe_form.first(), "behind")
    run = RunFolder(launcher.root / name)
    for what, word in (("pause", PAUSED), ("resume", QUEUED), ("cancel", CANCELLED), ("resume", QUEUED)):
        launcher.act(what, name)
        assert run.state().status == word
    assert len(started) == 1


@pytest.mark.parametrize("what", ["", "start", "__class__", "stop"])
def test_what_no_button_says_is_refused(launcher: Launcher, make_run: MakeRun, what: str) -> None:
    make_run()
    with pytest.raises(UsageError):
        launcher.act(what, "taste")


@pytest.mark.parametrize("name", ["../taste", "none", "", "taste/previews"])
def test_unknown_runs_are_refused(launcher: Launcher, make_run: MakeRun, started: list[str], name: str) -> None:
    make_run()
    for what in launcher.actions:
        with pytest.raises(UsageError):
            launcher.act(what, name)
    assert started == []


def test_a_studio_that_opens_pauses_what_waits(launcher: Launcher, make_run: MakeRun, started: list[str]) -> None:
    run = make_run("waiting", QUEUED)
    launcher.queue.add(run.name)
    launcher.open_session()
    assert (run.state().status, started) == (PAUSED, [])
    launcher.start_after_restart(True)
    launcher.resume_all()
    assert started == ["waiting"]


@pytest.mark.parametrize(
    "content", ["nonsense", "name: a/b", "prompts: {train: missing.txt}\nwords: {positive: a, negative: b}"]
)
def test_what_cannot_work_starts_nothing(tmp_path: Path, started: list[str], content: str) -> None:
    with pytest.raises(UsageError):
        Launcher(tmp_path).start(content, "ticket")
    assert (started, list(tmp_path.iterdir())) == ([], [])


def test_resume_starts_what_ended_early_and_leaves_a_finished_run_alone(
    launcher: Launcher, make_run: MakeRun, started: list[str]
) -> None:
    done = make_run("done", DONE)
    launcher.resume(make_run("stopped", STOPPED).name)
    launcher.resume(done.name)
    assert started == ["stopped"]


def test_stop_leaves_a_note_that_the_run_finds(make_run: MakeRun) -> None:
    run: RunFolder = make_run()
    Launcher(run.path.parent).stop(run.name)
    assert run.stop_file.exists()
    with pytest.raises(UsageError):
        Launcher(run.path.parent).stop("../taste")


def test_wishes_reach_a_run_at_work_and_no_other(make_run: MakeRun) -> None:
    run = make_run("done", DONE)
    launcher = Launcher(run.path.parent)
    with pytest.raises(UsageError, match="ended"):
        launcher.request("done", SAMPLE)
    run.claim()
    launcher.request("done", SAMPLE)
    assert run.take_wishes() == [SAMPLE]
