"""Whatever ends a run, and however often, resuming it leads to the bytes of the run that nothing ended."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

import pytest

from toolkit.run_folder import INTERRUPTED, STOPPED, RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a busy machine is no failure

KILLED_WHILE_SAVING_4 = """
import os, signal
from training import checkpoint
save = checkpoint.save_file
def save_and_die(tensors, path):
    save(tensors, path)
    if "/.000004." in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save_file = save_and_die
"""
TERMINATED_IN_UPDATE_4 = """
import os, signal
from training.trainer import Trainer
train = Trainer._train_update
def train_update(self):
    if self.update == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    train(self)
Trainer._train_update = train_update
"""
SLOW_CHECKS = """
import time
from training.validation import Panel
measure = Panel.measure
Panel.measure = lambda self, images: (time.sleep(1.5), measure(self, images))[1]
"""
ENDLESS_UPDATES = """
import time
from training.trainer import Trainer
def train_update(self):
    self._log.write("phase", name="endless", update=self.update)
    while True:
        time.sleep(0.05)
Trainer._train_update = train_update
"""


def kill_at_update(run: RunFolder, update: int, child: subprocess.Popen[str], wait_for: Any) -> None:
    """SIGKILL to the training process as soon as its log shows that update."""
    wait_for(lambda: run.events("update") and run.events("update")[-1]["update"] >= update, child)
    os.kill(run.state().pid, signal.SIGKILL)


def test_a_run_killed_three_times_ends_in_the_same_bytes(palate, chaos, uninterrupted: dict[str, Any]) -> None:
    run, child = palate.start_training("run")
    kill_at_update(run, 1, child, chaos.wait_for)
    said = chaos.end(child, 137)
    assert "The system ended the training process" in said
    assert run.state().status == INTERRUPTED

    palate("resume", str(run.path), plant=KILLED_WHILE_SAVING_4, expect=137)
    assert [path.name for path in run.checkpoints.glob(".000004.*")]
    assert chaos.intact(run)[-1] == 2

    child = palate.start("resume", str(run.path))
    kill_at_update(run, 5, child, chaos.wait_for)
    chaos.end(child, 137)
    assert chaos.intact(run)[-1] == 4

    assert "Finished 6 of 6 updates." in palate("resume", str(run.path))
    assert chaos.result(run) == uninterrupted
    assert list(run.checkpoints.glob(".*")) == []


def test_sigterm_saves_and_skips_no_check(palate, chaos, uninterrupted: dict[str, Any]) -> None:
    """It comes in the update after which a check is due; the resumed run makes that check first."""
    run, child = palate.start_training("run", plant=TERMINATED_IN_UPDATE_4)
    said = chaos.end(child, 143)
    assert "Stopped at update 4; everything up to here is saved." in said
    assert run.state().status == INTERRUPTED
    assert chaos.intact(run)[-1] == 4
    assert run.lora_files() == []

    palate("resume", str(run.path))
    assert chaos.result(run) == uninterrupted


def test_ctrl_c_saves_at_any_moment_and_a_second_one_ends_at_once(palate, chaos, uninterrupted) -> None:
    run, child = palate.start_training("run", plant=SLOW_CHECKS)
    chaos.wait_for(lambda: [e for e in run.events("phase") if e["update"] == 2], child)  # in the check at update 2
    child.send_signal(signal.SIGINT)
    assert "Stopped at update 3; everything up to here is saved." in chaos.end(child, 130)
    assert chaos.intact(run)[-1] == 3

    child = palate.start("resume", str(run.path), plant=ENDLESS_UPDATES)
    chaos.wait_for(lambda: [e for e in run.events("phase") if e["name"] == "endless"], child)
    child.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):  # it waits for the update, which has no end
        child.wait(1)
    child.send_signal(signal.SIGINT)
    assert "Stopped at once; what was saved is intact." in chaos.end(child, 130)
    assert chaos.intact(run)[-1] == 3
    assert run.state().status == INTERRUPTED

    child = palate.start("resume", str(run.path))
    chaos.wait_for(lambda: [e for e in run.events("update") if e["update"] == 4], child)
    child.send_signal(signal.SIGINT)
    assert "everything up to here is saved" in chaos.end(child, 130)
    assert chaos.intact(run)[-1] in (4, 5, 6)  # at the end of the update it came in

    palate("resume", str(run.path))
    assert chaos.result(run) == uninterrupted


@pytest.mark.parametrize("moment", ["starting", "loading"])
def test_ctrl_c_before_the_first_update_ends_in_words(palate, chaos, moment: str) -> None:
    run, child = palate.start_training("run")
    if moment == "starting":  # the process is there and imports its libraries
        chaos.wait_for(lambda: run.state_file.exists() and run.state().pid, child)
    else:
        chaos.wait_for(lambda: run.log_file.exists() and "Loading" in run.log_file.read_text(), child)
    child.send_signal(signal.SIGINT)
    said = chaos.end(child, 130)
    assert "Stopped before training began." in said or "Interrupted at update 0." in said
    assert run.state().status == INTERRUPTED
    assert run.checkpoint_updates() == []


def test_a_run_outlives_its_terminal_and_a_stop_file_ends_it_well(palate, chaos) -> None:
    run, child = palate.start_training("run", "--set", "training.updates=1000", "--set", "validation.every=500")
    chaos.wait_for(lambda: run.events("update"), child)
    child.kill()
    child.communicate()
    seen = run.events("update")[-1]["update"]
    chaos.wait_for(lambda: run.events("update")[-1]["update"] > seen + 1)
    run.request_stop()
    chaos.wait_for(lambda: not run.state().is_active)
    assert run.state().status == STOPPED
    assert len(run.lora_files()) == 1
    assert run.events("verdict")[-1]["status"] == STOPPED
    assert chaos.intact(run)[-1] == run.events("check")[-1]["update"] == run.state().update
