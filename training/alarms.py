"""What a method's own numbers may warn of, in words. A method declares its alarms; whoever logs asks if one is raised.

Pure: the updates come in as the plain values of events, so a resumed run hears the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

DECAY = 0.95  # of the running mean of a number, per update
LEAST = 20  # updates before anything is said


@dataclass(frozen=True)
class Alarm:
    """Raised while the running mean of `metric` lies above `above`, and, if `rising`, above what it was half-way."""

    metric: str
    above: float
    sentence: str
    rising: bool = False


def raised(alarms: Iterable[Alarm], updates: Sequence[Mapping[str, float | None]]) -> tuple[str, ...]:
    """The sentences of the alarms that the metrics of all updates so far raise."""
    return tuple(alarm.sentence for alarm in alarms if _is_raised(alarm, updates))


def _is_raised(alarm: Alarm, updates: Sequence[Mapping[str, float | None]]) -> bool:
    means: list[float] = []
    for value in (update.get(alarm.metric) for update in updates):
        if value is not None:
            means.append(value if not means else DECAY * means[-1] + (1 - DECAY) * value)
    if len(means) < LEAST or means[-1] <= alarm.above:
        return False
    return not alarm.rising or means[-1] > means[len(means) // 2]
