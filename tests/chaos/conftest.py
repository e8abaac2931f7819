"""A command line in a folder with short prompt lists, and ways to let things happen inside its training process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import indent
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import toolkit
from toolkit import launch, run_folder
from toolkit.run_folder import RunFolder

HOME = str(Path(toolkit.__file__).parents[1])
PATIENCE = 240.0  # seconds for whatever should happen soon, on a machine that is busy
RECIPE = """
name: tiny
method: {name: srpo, rollout_steps: 4, sigma_low: 0.1, sigma_high: 0.95, known_share: 0.7}
words: {positive: 3d render, negative: line art}
prompts: {train: train.txt, validation: validation.txt, test: test.txt}
lora: {rank: 4, layers: attention, file_dtype: float32}
optimizer: {warmup_updates: 1}
training: {updates: 6, batch_size: 2, seed: 1}
validation: {every: 2, steps: 2, previews: 2, patience: 9}
"""
SUBJECTS = {
    "train": ("a dog", "a bus", "an apple", "a house"),
    "validation": ("a cat", "a car", "a pear", "a tree"),
    "test": ("a fox", "a van", "a plum", "a rose"),
}
PLANTED = """
import sys
if "training" in sys.orig_argv[1:4]:
"""


class CommandLine:
    """`palate`, called as a user calls it, always with the same recipe and prompts."""

    def __init__(self, world: Path, folder: Path) -> None:
        self.recipe, self.folder = world / "tiny.yaml", folder
        self._children: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, plant: str = "") -> subprocess.Popen[str]:
        """plant: Python code that runs inside the training process before anything else."""
        path = [HOME]
        if plant:
            seed = self.folder / f"planted-{len(list(self.folder.glob('planted-*')))}"
            seed.mkdir()
            (seed / "sitecustomize.py").write_text(PLANTED + indent(plant, "    "))
            path.insert(0, str(seed))
        child = subprocess.Popen(
            [sys.executable, "-m", "toolkit.cli", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._children.append(child)
        return child

    def clear(self) -> None:
        """End what a failed test left at work."""
        for run in run_folder.all_runs(self.folder):
            launch.send(run, signal.SIGKILL)
        for child in self._children:
            if child.poll() is None:
                child.kill()
                child.communicate()

    def start_training(self, name: str, *settings: str, plant: str = "") -> tuple[RunFolder, subprocess.Popen[str]]:
        """`palate train` into a new folder of that name."""
        run = RunFolder(self.folder / name)
        return run, self.start("train", str(self.recipe), "--output", str(run.path), *settings, plant=plant)

    def __call__(self, *arguments: str, expect: int = 0, plant: str = "") -> str:
        """Run to the end; what was said on stdout and stderr together."""
        return end(self.start(*arguments, plant=plant), expect)


def end(child: subprocess.Popen[str], expect: int = 0) -> str:
    """Wait for a command; its words, which never are a traceback."""
    out, problems = child.communicate(timeout=PATIENCE)
    assert child.returncode == expect, out + problems
    assert "Traceback" not in problems
    return out + problems


def wait_for(condition: Callable[[], Any], child: subprocess.Popen[str] | None = None) -> Any:
    """What the condition answers once it is true; fails when the child ends first."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        assert child is None or child.poll() is None, child.communicate()
        time.sleep(0.02)
    raise AssertionError("It did not happen in time.")


def result(run: RunFolder) -> dict[str, Any]:
    """Everything a finished run decides: LoRA bytes, last checkpoint, numbers; without clocks."""
    (lora,) = run.lora_files()
    last = run.checkpoints / f"{run.checkpoint_updates()[-1]:06d}"
    timeless = {"time", "seconds"}
    events = [
        {key: value for key, value in event.items() if key not in timeless}
        for event in run.events()
        if event["kind"] in ("update", "check", "verdict")
    ]
    return {
        "lora": lora.read_bytes(),
        "adapter": (last / "adapter.safetensors").read_bytes(),
        "optimizer": (last / "optimizer.safetensors").read_bytes(),
        "events": events,
    }


def intact(run: RunFolder) -> list[int]:
    """The updates saved, each of which opens and holds numbers."""
    for update in run.checkpoint_updates():
        for name in ("adapter", "optimizer"):
            tensors = load_file(run.checkpoints / f"{update:06d}" / f"{name}.safetensors")
            assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    return run.checkpoint_updates()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe and its three lists."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "tiny.yaml").write_text(RECIPE)
    for role, subjects in SUBJECTS.items():
        (folder / f"{role}.txt").write_text("\n".join(subjects))
    return folder


@pytest.fixture
def palate(world: Path, tmp_path: Path) -> Iterator[CommandLine]:
    command_line = CommandLine(world, tmp_path)
    yield command_line
    command_line.clear()


@pytest.fixture(scope="session")
def uninterrupted(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of the same recipe when nothing happens, started beside a stranger's `training` folder."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    for name in ("training", "toolkit_of_mine"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise SystemExit('a stranger was imported')")
    run, child = CommandLine(world, folder).start_training("run")
    said = end(child)
    assert "stranger" not in said + run.log_file.read_text()
    assert run.state().status == "done"
    return result(run)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a tmpfs of so many MB; xfails where that is not allowed."""
    mounted: list[Path] = []

    def mount(megabytes: int) -> Path:
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
        done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.xfail(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def chaos() -> SimpleNamespace:
    """The helpers above, since test files cannot import a conftest."""
    return SimpleNamespace(end=end, wait_for=wait_for, result=result, intact=intact)
