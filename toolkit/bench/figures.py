"""What was measured, arranged by arm, point and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy

from toolkit.bench.intervals import Array
from toolkit.bench.methods import Lengths, MethodsBench, measured
from toolkit.bench.question import Figure, Point


@dataclass(frozen=True)
class ArmFigures:
    """One arm at all seeds; arrays are [seeds, prompts]; a run that an alarm ended stands at its last check."""

    name: str
    lengths: Lengths
    seconds_per_update: float
    settings: dict[str, Any]
    runs: Sequence[dict[str, Any]]  # by seed: figures by update

    @cached_property
    def updates(self) -> list[int]:
        """Measured updates, the base's 0 first."""
        return sorted({int(update) for run in self.runs for update in run})

    def at(self, point: Point) -> int:
        """The measured update at that budget, or the last one before it."""
        wanted = self.lengths.wall if point == "wall" else self.lengths.samples
        return max(update for update in self.updates if update <= wanted)

    def figures(self, update: int) -> list[dict[str, Any]]:
        """Everything measured there, by seed; of a run that ended before, its last."""
        return [run[str(max(int(there) for there in run if int(there) <= update))] for run in self.runs]

    def pictures(self, figure: Figure, update: int) -> Array:
        """Of each test picture, [seeds, prompts]."""
        if figure == "hacked":
            gains = {name: self.pictures(name, update) - self.pictures(name, 0) for name in ("reward", "second")}
            return ((gains["reward"] > 0) & (gains["second"] < 0)).astype(float)
        return numpy.array([figures["pictures"][figure] for figures in self.figures(update)])

    def curve(self, figure: Figure) -> list[Array]:
        """`pictures` at every measured update."""
        return [self.pictures(figure, update) for update in self.updates]

    def value(self, name: str, update: int) -> list[float]:
        """A panel's mean, by seed."""
        return [figures["values"][name] for figures in self.figures(update)]

    def bad_guards(self, update: int) -> list[str]:
        """Guards that are bad there at any seed, with how many."""
        lit = [figures["guards"] for figures in self.figures(update)]
        names = [name for guards in lit for name, state in guards.items() if state == "bad"]
        return [f"{name} {names.count(name)}/{len(self.runs)}" for name in sorted(set(names))]


def collect(bench: MethodsBench) -> dict[str, ArmFigures]:
    """All arms, in the study's order."""
    arms = {}
    for name, jobs in bench.final_jobs().items():
        number = bench.chosen[bench.study.swept(name)]
        arms[name] = ArmFigures(
            name, bench.lengths(name), bench.pace[name], bench.study.candidates(name)[number],
            [measured(job.run) for job in jobs],
        )  # fmt: skip
    return arms
