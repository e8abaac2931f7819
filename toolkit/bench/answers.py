"""How each kind of question is answered: lines with intervals, whichever way they come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy

from toolkit.bench.figures import ArmFigures
from toolkit.bench.intervals import Array, Interval, crossing, difference, interval, mean
from toolkit.bench.question import Figure, Question
from toolkit.recipe_parts import Part

NAMES = {
    "reward": "trained reward",
    "second": "untrained reward",
    "judge": "judge",
    "hacked": "trained reward up, untrained down",
}


class Answer(Part):
    """One line of an answer: an arm, what is said of it, and the figure where 0 (compare) would mean no difference."""

    arm: str
    figure: str
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, arm: str, figure: str, found: Interval) -> Answer:
        return cls(arm=arm, figure=figure, value=found.value, low=found.low, high=found.high)


def answer(question: Question, arms: Mapping[str, ArmFigures]) -> list[Answer]:
    """In the order of the question's arms."""
    chosen = [arms[name] for name in question.arms]
    return {"compare": _compare, "equal_reward": _equal_reward, "reach": _reach}[question.kind](question, chosen)


def _compare(question: Question, arms: Sequence[ArmFigures]) -> list[Answer]:
    first, *others = arms
    lines = []
    for figure in question.figures:
        base = first.pictures(figure, first.at(question.at))
        for arm in others:
            found = interval([arm.pictures(figure, arm.at(question.at)), base], difference)
            lines.append(Answer.of(arm.name, f"{NAMES[figure]}, minus {first.name}'s", found))
    return lines


def _equal_reward(question: Question, arms: Sequence[ArmFigures]) -> list[Answer]:
    """Judge and untrained reward where each run's trained reward passes the highest mean that all runs reach."""
    level = min(max(_means(curve)) for arm in arms for curve in _by_seed(arm.curve("reward")))
    lines = []
    for figure in ("judge", "second"):
        there = [_where(arm, figure, level) for arm in arms]
        lines += [
            Answer.of(arm.name, f"{NAMES[figure]} at trained reward {level:.3f}", interval([found], mean))
            for arm, found in zip(arms, there, strict=True)
        ]
        lines += [
            Answer.of(
                arm.name, f"{NAMES[figure]} there, minus {arms[0].name}'s", interval([found, there[0]], difference)
            )
            for arm, found in zip(arms[1:], there[1:], strict=True)
        ]
    return lines


def _where(arm: ArmFigures, figure: Figure, level: float) -> Array:
    """Each picture's figure between the two checks around the level, seed by seed, [seeds, prompts]."""
    rows = []
    for seed, curve in enumerate(_by_seed(arm.curve("reward"))):
        place = crossing(range(len(curve)), _means(curve), level)
        before, share = int(place), place - int(place)
        values = [array[seed] for array in arm.curve(figure)]
        rows.append(values[before] + share * (values[min(before + 1, len(values) - 1)] - values[before]))
    return numpy.array(rows)


def _reach(question: Question, arms: Sequence[ArmFigures]) -> list[Answer]:
    """Updates or seconds until the judge's mean reaches the highest level that every arm's mean reaches."""
    level = min(max(_means(arm.curve("judge"))) for arm in arms)
    lines = []
    for arm in arms:
        unit = 1.0 if question.unit == "updates" else arm.seconds_per_update
        places = [update * unit for update in arm.updates]
        found = interval(arm.curve("judge"), lambda drawn, p=places: crossing(p, _means(drawn), level))
        lines.append(Answer.of(arm.name, f"{question.unit} until the judge gives {level:.3f}", found))
    return lines


def _means(arrays: Sequence[Array]) -> list[float]:
    return [float(array.mean()) for array in arrays]


def _by_seed(curve: Sequence[Array]) -> list[list[Array]]:
    """[points] of [seeds, prompts] → [seeds][points] of [prompts]."""
    return [[array[seed] for array in curve] for seed in range(len(curve[0]))]
