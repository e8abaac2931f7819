"""The backend's command can be typed as it is shown, and nothing in the user's folder gets in its way."""

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit import launch, recipe
from toolkit.errors import UsageError
from toolkit.run_folder import QUEUED, RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    content = recipe.parse({"name": "a-run", "words": {"positive": "a", "negative": "b"}})
    return RunFolder.create(tmp_path / "my runs", content)


def test_one_process_is_this_python_and_the_run(run: RunFolder) -> None:
    command = launch.command(run)
    assert command == [sys.executable, "-m", "training", "train", str(run.path)]
    assert shlex.split(launch.shown(command)) == command


def test_several_processes_share_a_free_port(run: RunFolder) -> None:
    command = launch.command(run, processes=3)
    assert command[command.index("--nproc-per-node") + 1] == "3"
    assert 1024 < int(command[command.index("--master-port") + 1]) < 65536
    assert command[-4:] == ["-m", "training", "train", str(run.path)]


def test_the_users_folder_cannot_shadow_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    environment = launch.environment()
    assert environment["PYTHONSAFEPATH"] == "1"
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"


def test_a_run_starts_detached_with_its_own_log(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    # It stays a moment, or a busy machine would find it gone before its state is read.
    script = "import os, time; print('session', os.getsid(0) == os.getpid(), os.getcwd()); time.sleep(2)"
    monkeypatch.setattr(launch, "command", lambda run, processes: [sys.executable, "-c", script])
    run.request_stop()
    child = launch.start(run)
    assert run.state().pid == child.pid
    assert child.wait(60) == 0
    assert run.log_file.read_text() == f"session True {run.path}\n"
    assert not run.stop_file.exists()


def test_a_run_at_work_is_not_started_twice_and_can_be_signalled(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "command", lambda run, processes: [sys.executable, "-c", "import time; time.sleep(60)"])
    child = launch.start(run)
    with pytest.raises(UsageError, match=f"already running .process {child.pid}"):
        launch.start(run)
    assert launch.send(run, signal.SIGTERM)
    assert child.wait(60) == -signal.SIGTERM
    assert not launch.send(run)


def test_a_run_that_cannot_be_written_is_not_started(run: RunFolder) -> None:
    run.log_file.mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        launch.start(run)
    assert run.state().status == QUEUED
    assert run.state().pid == 0


def test_a_short_command_answers_on_pipes(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "__main__.py").write_text("print('a stranger')")
    child = launch.backend("--help", cwd=tmp_path)
    out, problems = child.communicate(timeout=120)
    assert isinstance(child, subprocess.Popen)
    assert child.returncode == 0, problems
    assert "describe" in out
    assert "stranger" not in out
