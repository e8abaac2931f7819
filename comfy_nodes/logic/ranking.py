"""Scores into an order and a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """What one picture got. absolute: for the prompt alone; relative: positive minus negative word, if there are words.

    size: (width, height) in pixels.
    """

    absolute: float
    relative: float | None
    size: tuple[int, int]

    @property
    def value(self) -> float:
        """What pictures are ranked by: the words' where there are any."""
        return self.absolute if self.relative is None else self.relative


def order(values: Sequence[float]) -> list[int]:
    """Places from best to worst; equal ones stay as they came, and what is no number comes last."""
    return sorted(range(len(values)), key=lambda place: (math.isnan(values[place]), -values[place], place))


def table(scores: Sequence[Score], notes: Sequence[str] = ()) -> str:
    """One line a picture, best first, and the notes below."""
    words = [score.relative is not None for score in scores]
    head = ["image", *(["words"] if any(words) else []), "prompt", "size"]
    lines = [head, *(_line(place, scores[place]) for place in order([score.value for score in scores]))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rows = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([*rows, *notes])


def _line(place: int, score: Score) -> list[str]:
    words = [] if score.relative is None else [f"{score.relative:+.4f}"]
    return [str(place), *words, f"{score.absolute:.4f}", f"{score.size[0]}x{score.size[1]}"]
