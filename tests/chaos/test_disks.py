"""A disk that is full or cannot be written: a sentence, and nothing that was announced as saved is lost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a busy machine is no failure

FILLS_UP_IN_UPDATE_4 = """
import os
from training.trainer import Trainer
train = Trainer._train_update
def train_update(self):
    if self.update == 3:
        place = self.run_folder.path.parent
        with open(place / "somebody-elses-file", "wb", buffering=0) as file:
            free = os.statvfs(place)
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
    train(self)
Trainer._train_update = train_update
"""


def make_read_only(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


def test_a_disk_that_fills_up_costs_nothing_that_was_saved(
    palate, chaos, small_disk, uninterrupted: dict[str, Any]
) -> None:
    disk = small_disk(230)
    run, child = palate.start_training(str(disk / "run"), plant=FILLS_UP_IN_UPDATE_4)
    said = chaos.end(child, 1)
    assert "Writing to the run folder failed at update 4: No space left on device." in said
    assert "Saved up to update 2, and that is intact." in said
    assert chaos.intact(run) == [0, 2]
    assert run.lora_files() == []
    assert not run.state().is_active

    (disk / "somebody-elses-file").unlink()
    palate("resume", str(run.path))
    assert chaos.result(run) == uninterrupted


def test_a_disk_that_is_nearly_full_is_refused_before_anything_starts(palate, small_disk) -> None:
    disk = small_disk(20)
    said = palate("train", str(palate.recipe), "--output", str(disk / "run"), expect=2)
    assert "MB are free where the run would be written" in said
    assert list(disk.iterdir()) == []


def test_an_output_that_cannot_be_written_is_refused_before_anything_starts(palate, small_disk) -> None:
    disk = small_disk(230)
    make_read_only(disk)
    for place in (["--output", str(disk / "run")], ["--runs", str(disk)]):
        said = palate("train", str(palate.recipe), *place, expect=2)
        assert "cannot be written" in said
        assert "Read-only file system" in said
    assert list(disk.iterdir()) == []


def test_a_run_on_a_read_only_disk_is_not_resumed(palate, small_disk) -> None:
    disk = small_disk(230)
    (disk / "run").mkdir()
    shutil.copy(palate.recipe, disk / "run" / "recipe.yaml")
    for prompts in palate.recipe.parent.glob("*.txt"):
        shutil.copy(prompts, disk / "run")
    make_read_only(disk)
    said = palate("resume", str(disk / "run"), expect=2)
    assert "Read-only file system" in said
    assert {path.name for path in (disk / "run").iterdir()} == {
        "recipe.yaml",
        "train.txt",
        "validation.txt",
        "test.txt",
    }
