"""A run whose validation scorer lives in a process of its own: it ends with the run, however the run ends."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import psutil
import pytest

from toolkit import launch
from toolkit.run_folder import FAILED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a busy machine is no failure


def remote_scorer(folder: Path) -> tuple[str, ...]:
    """The demo's second reward, served. It writes its process number into the folder."""
    code = (
        "import os, pathlib, sys; "
        f"pathlib.Path({str(folder)!r}, 'scorer.pid').write_text(str(os.getpid())); "
        "from training.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code, "serve-scorer", "demo_second", "--port", "{port}"]
    return ("--set", "validation.scorer=" + json.dumps({"name": "remote", "command": command}))


def scorer(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "scorer.pid").read_text()))


def is_gone(folder: Path) -> bool:
    try:
        return scorer(folder).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_remote_scorer_chooses_what_the_same_scorer_chooses_in_process(palate, chaos, tmp_path: Path) -> None:
    remote, child = palate.start_training("remote", *remote_scorer(tmp_path))
    chaos.end(child)
    assert chaos.wait_for(lambda: is_gone(tmp_path))
    local, child = palate.start_training("local")
    chaos.end(child)
    for there, here in zip(remote.events("check"), local.events("check"), strict=True):
        assert there["values"]["second"] == pytest.approx(here["values"]["second"], abs=1e-6)


def test_a_scorer_killed_mid_run_ends_it_in_a_sentence(palate, chaos, tmp_path: Path) -> None:
    run, child = palate.start_training("run", *remote_scorer(tmp_path), "--set", "training.updates=500")
    chaos.wait_for(lambda: run.events("check"), child)
    scorer(tmp_path).kill()
    said = chaos.end(child, 1)
    assert "The scorer that Palate started has ended." in said
    assert run.state().status == FAILED
    assert chaos.intact(run)


def test_a_killed_run_takes_its_scorer_along(palate, chaos, tmp_path: Path) -> None:
    run, child = palate.start_training("run", *remote_scorer(tmp_path), "--set", "training.updates=500")
    chaos.wait_for(lambda: run.events("update"), child)
    launch.send(run, signal.SIGKILL)
    child.communicate()
    assert chaos.wait_for(lambda: is_gone(tmp_path))


def test_an_interrupted_run_still_has_its_scorer_to_the_end(palate, chaos, tmp_path: Path) -> None:
    run, child = palate.start_training("run", *remote_scorer(tmp_path), "--set", "training.updates=500")
    chaos.wait_for(lambda: run.events("update"), child)
    child.send_signal(signal.SIGINT)
    assert "everything up to here is saved" in chaos.end(child, 130)
    assert chaos.wait_for(lambda: is_gone(tmp_path))
