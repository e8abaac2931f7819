"""Runs of a bench: so many at a time, each a process of its own on one thread; what is finished is left alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from toolkit import launch
from toolkit.errors import PalateError
from toolkit.recipe import Recipe
from toolkit.run_folder import DONE, RunFolder

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """A recipe and the folder that its run has or will have."""

    folder: Path
    recipe: Recipe

    @property
    def run(self) -> RunFolder:
        """The run, there or not."""
        return RunFolder(self.folder)

    @property
    def is_done(self) -> bool:
        """Whether it ended well, with this very recipe."""
        made = self.run
        return made.state().status == DONE and made.recipe().digest() == self.recipe.digest()


def finish(jobs: Iterable[Job], *, workers: int, say: Callable[[str], None]) -> None:
    """Start or resume what is not done, `workers` at a time, until all are.

    Raises PalateError with the first run's own sentence when one fails; the others are waited for.
    """
    waiting = [job for job in jobs if not job.is_done]
    total, working, failed = len(waiting), list[tuple[Job, Popen[bytes]]](), list[Job]()
    while waiting or working:
        while waiting and len(working) < workers:
            job = waiting.pop(0)
            working.append((job, launch.start(_folder(job), env=ONE_THREAD)))
        time.sleep(POLL_SECONDS)
        ended = [(job, child) for job, child in working if child.poll() is not None]
        for job, child in ended:
            working.remove((job, child))
            failed += [] if job.is_done else [job]
            say(f"{job.folder.name}: {job.run.state().message} ({total - len(waiting) - len(working)}/{total})")
    if failed:
        raise PalateError(
            f"{len(failed)} runs failed, first `{failed[0].folder}`: {failed[0].run.state().message}",
            action="See log.txt there; the same command goes on with what is missing.",
        )


def _folder(job: Job) -> RunFolder:
    """The run to go on with, or a fresh one where there is none."""
    if not job.run.recipe_file.exists():
        return RunFolder.create(job.folder, job.recipe, exact=True)
    if job.run.recipe().digest() != job.recipe.digest():
        raise PalateError(
            f"`{job.folder}` holds a run of another recipe.",
            cause="The bench or its pace was changed since.",
            action="Delete that folder, or give a new one with --output.",
        )
    return job.run


def seconds_per_update(run: RunFolder) -> float:
    """The median update's wall time; the first, which warms up, does not count."""
    return statistics.median(event["seconds"] for event in run.events("update")[1:])


def choose(candidates: Sequence[RunFolder]) -> int:
    """The candidate with the highest second reward on validation prompts among those without a bad guard; else 0."""
    scores = [
        float("-inf")
        if any(light["state"] == "bad" for light in check["guards"].values())
        else check["values"]["second"]
        for check in (run.events("check")[-1] for run in candidates)
    ]
    return max(range(len(scores)), key=lambda index: scores[index])
