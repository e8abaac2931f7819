"""The bench of the methods, step by step; every step goes on from what the folder holds.

made/    data sets and weights        pace/     seconds per update of each arm, one run at a time
sweep/   an arm's candidates          final/    an arm at each seed, measured on the test prompts
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.bench.made import Maker
from toolkit.bench.runs import Job, choose, finish, seconds_per_update
from toolkit.bench.study import Study, samples_per_update, slug
from toolkit.commands import ask_backend
from toolkit.run_folder import RunFolder

PACE_UPDATES = 6
MEASURED_TOGETHER = 10  # runs by one process, which renders the base once
WATCHING_STEPS = 6  # of the guards' pictures in a final run, which decide nothing but an alarm
CURVE = 3  # checks of an arm that a question follows over its updates
JUDGE = "demo_judge"


@dataclass(frozen=True)
class Lengths:
    """Updates of a run: at equal seconds, at equal samples, and between two checks, which end both."""

    wall: int
    samples: int
    every: int

    @property
    def updates(self) -> int:
        """Of the run, from which both are read."""
        return max(self.wall, self.samples)


def lengths(
    seconds: float, seconds_per_update: float, samples: int, samples_per_update: int, *, checks: int = 1
) -> Lengths:
    """The updates that fit either budget, and the rarest checks, `checks` at least, of which one falls on each end."""
    wall = max(1, round(seconds / seconds_per_update))
    equal = max(1, round(samples / samples_per_update))
    first, last = sorted((wall, equal))
    divisors = (every for every in range(first, 0, -1) if first % every == 0)
    return Lengths(wall, equal, next(every for every in divisors if every == 1 or last / every > checks - 1))


@dataclass(frozen=True)
class MethodsBench:
    """All runs of a study below one folder."""

    study: Study
    folder: Path
    workers: int
    say: Callable[[str], None]

    def run(self) -> None:
        """Every step in turn."""
        Maker(self.study, self.folder / "made", self.say).make()
        self.say("pace: each arm alone")
        finish(self.pace_jobs().values(), workers=1, say=self.say)
        self.say("sweeps")
        finish([job for jobs in self.sweep_jobs().values() for job in jobs], workers=self.workers, say=self.say)
        for place, seed in enumerate(self.study.budget.seeds):
            self.say(f"runs of seed {seed}")
            finish([jobs[place] for jobs in self.final_jobs().values()], workers=self.workers, say=self.say)
            self.measure(place)

    def pace_jobs(self) -> dict[str, Job]:
        """A few updates of each arm, before any sweep: what a candidate changes costs no time."""
        short = {"training.updates": PACE_UPDATES, "validation.every": PACE_UPDATES}
        return {name: self._job("pace", name, "", short) for name in self.study.arms}

    @cached_property
    def pace(self) -> dict[str, float]:
        """Seconds per update of each arm, once measured."""
        return {name: seconds_per_update(job.run) for name, job in self.pace_jobs().items()}

    def sweep_jobs(self) -> dict[str, list[Job]]:
        """Every candidate of each arm that has a sweep of its own."""
        budget = self.study.budget
        jobs = {}
        for name in (name for name, arm in self.study.arms.items() if arm.sweep):
            updates = max(1, round(budget.sweep_seconds / self.pace[name]))
            short = {"training.updates": updates, "validation.every": updates, "training.seed": budget.sweep_seed}
            jobs[name] = [
                self._job("sweep", name, f"-{number}", {**short, **settings})
                for number, settings in enumerate(self.study.candidates(name))
            ]
        return jobs

    @cached_property
    def chosen(self) -> dict[str, int]:
        """The candidate of each sweep that won on validation prompts."""
        return {name: choose([job.run for job in jobs]) for name, jobs in self.sweep_jobs().items()}

    def lengths(self, name: str) -> Lengths:
        """How long an arm's runs are."""
        budget = self.study.budget
        content = self.study.made_recipe(name, self.folder / "made", {})
        asked = name in self.study.curves()
        return lengths(
            budget.seconds, self.pace[name], budget.samples, samples_per_update(content),
            checks=CURVE if asked else 1,
        )  # fmt: skip

    def final_jobs(self) -> dict[str, list[Job]]:
        """Each arm at each seed, with its sweep's winner."""
        jobs = {}
        for name in self.study.arms:
            length = self.lengths(name)
            settings = self.study.candidates(name)[self.chosen[self.study.swept(name)]]
            long = {"training.updates": length.updates, "validation.every": length.every}
            long |= {"validation.steps": WATCHING_STEPS}
            jobs[name] = [
                self._job("final", name, f"-{seed}", {**long, **settings, "training.seed": seed})
                for seed in self.study.budget.seeds
            ]
        return jobs

    def measure(self, place: int) -> None:
        """The test prompts' figures of every run of a seed, which share the base's pictures."""
        chunks = self._unmeasured(place)
        self.say(f"measuring {sum(map(len, chunks))} runs")
        with ThreadPoolExecutor(self.workers) as pool:
            list(pool.map(self._measure, chunks))

    def _unmeasured(self, place: int) -> list[dict[str, list[int]]]:
        """Updates to measure by run folder, in parts of `MEASURED_TOGETHER`."""
        runs = {name: jobs[place].run for name, jobs in self.final_jobs().items()}
        missing = {str(run.path): self.looked_at(name) for name, run in runs.items() if not measured_file(run).exists()}
        folders = list(missing)
        parts = (folders[start : start + MEASURED_TOGETHER] for start in range(0, len(folders), MEASURED_TOGETHER))
        return [{folder: missing[folder] for folder in part} for part in parts]

    def looked_at(self, name: str) -> list[int]:
        """The updates of an arm that test prompts are drawn at: both ends, or every check where a question asks."""
        length = self.lengths(name)
        between = range(length.every, length.updates, length.every) if name in self.study.curves() else ()
        return sorted({length.wall, length.samples, *between})

    def _measure(self, wanted: dict[str, list[int]]) -> None:
        steps = str(self.study.recipe["validation"]["steps"])
        ask_backend("measure", json.dumps(wanted), "--judge", JUDGE, "--steps", steps, cwd=self.folder, quiet=True)

    def _job(self, step: str, name: str, suffix: str, settings: Mapping[str, Any]) -> Job:
        content = self.study.made_recipe(name, self.folder / "made", settings)
        return Job(self.folder / step / f"{slug(name)}{suffix}", content)


def measured_file(run: RunFolder) -> Path:
    """What `python -m training measure` says of a run's checkpoints."""
    return run.report / "measured.json"


def measured(run: RunFolder) -> dict[str, Any]:
    """Figures by update, "0" is the base: means, and lists over the test pictures."""
    return json.loads(measured_file(run).read_text(encoding="utf-8"))
