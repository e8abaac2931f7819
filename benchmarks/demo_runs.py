"""Runs of the demo recipes, in turn, through the command line a user has. Shared by the benchmarks in this folder."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.run_folder import RunFolder


@dataclass(frozen=True)
class Job:
    """One run: a ready recipe's name, the settings that differ, and the folder it goes to."""

    recipe: str
    settings: tuple[str, ...]
    folder: Path


def run(job: Job) -> RunFolder:
    """Train, unless the folder already holds the finished run. A run that ends badly is returned as it is."""
    finished = RunFolder(job.folder)
    if not (job.folder / "recipe.yaml").exists():
        command = [sys.executable, "-m", "toolkit.cli", "train", job.recipe, "--output", str(job.folder), "--quiet"]
        for setting in job.settings:
            command += ["--set", setting]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    return finished


def report(finished: RunFolder) -> dict[str, Any]:
    """The table base → aligned on the test prompts, judge included."""
    path = finished.report / "report.json"
    if not path.exists():
        command = [
            sys.executable,
            "-m",
            "toolkit.cli",
            "compare",
            str(finished.path),
            "--judge",
            "demo_judge",
            "--quiet",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(path.read_text(encoding="utf-8"))


def verdict(finished: RunFolder) -> dict[str, Any]:
    """The run's last verdict, or its state where it has none."""
    found = finished.events("verdict")
    return found[-1] if found else {"sentence": finished.state().message, "best": None, "alarms": ["failed"]}


def spread(values: Iterable[float]) -> str:
    """Mean and standard deviation over seeds."""
    numbers = list(values)
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return f"{statistics.mean(numbers):.3f} ± {deviation:.3f}"
