"""Means with intervals over test prompts and training seeds. Pure functions of arrays [seeds, prompts]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

Array = NDArray[numpy.float64]
RESAMPLES, COVERAGE, SEED = 2000, 0.95, 0


@dataclass(frozen=True)
class Interval:
    """A figure and where 95 % of its resamples lie; infinite where a resample never gets there."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def interval(arrays: Sequence[Array], figure: Callable[[Sequence[Array]], float]) -> Interval:
    """`figure` of `arrays`, each [seeds, prompts], and its bootstrap over whole seeds and whole prompts.

    Seeds and prompts are drawn once per resample and shared by all arrays, so that differences stay paired. Three seeds
    are few: the interval is wide for a reason, and still knows no seed that was not run.
    """
    rng = numpy.random.default_rng(SEED)
    seeds, prompts = arrays[0].shape
    drawn = []
    for _ in range(RESAMPLES):
        rows, columns = rng.integers(seeds, size=seeds), rng.integers(prompts, size=prompts)
        drawn.append(figure([array[numpy.ix_(rows, columns)] for array in arrays]))
    tail = (1 - COVERAGE) / 2
    low, high = numpy.quantile(numpy.array(drawn), [tail, 1 - tail], method="inverted_cdf")
    return Interval(figure(arrays), float(low), float(high))


def mean(arrays: Sequence[Array]) -> float:
    """Of the first array."""
    return float(arrays[0].mean())


def difference(arrays: Sequence[Array]) -> float:
    """Of the first array's mean to the second's."""
    return float(arrays[0].mean() - arrays[1].mean())


def crossing(places: Sequence[float], values: Sequence[float], level: float) -> float:
    """Where the line through (place, value) first reaches `level`; infinite where it does not.

    places: rising, such as updates or seconds.
    """
    for index, value in enumerate(values):
        if value >= level:
            if index == 0:
                return float(places[0])
            before = values[index - 1]
            share = (level - before) / (value - before)
            return float(places[index - 1] + share * (places[index] - places[index - 1]))
    return float("inf")
