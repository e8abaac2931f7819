"""Line charts as SVG: one y-axis, few lines, labels at the lines' ends, dash patterns beside colours. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.studio.markup import number, text
from toolkit.studio.speech import say

WIDTH, HEIGHT = 380, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 96, 14, 28
MOST_LINES, MOST_POINTS = 4, 400
LABEL_GAP = 15  # pixels between two labels at the right edge
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A named line through (update, value) points; a value that is not a number leaves a gap."""

    label: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class _Axes:
    """From (update, value) to pixels."""

    last: float
    ticks: Sequence[float]
    ends: tuple[str, str]

    def place(self, point: Point) -> Point:
        bottom, top = self.ticks[0], self.ticks[-1]
        across = point[0] / self.last * (WIDTH - LEFT - RIGHT)
        up = (point[1] - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)
        return round(LEFT + across, 1), round(HEIGHT - BOTTOM - up, 1)

    def drawn(self) -> str:
        step = self.ticks[1] - self.ticks[0]
        digits = next(d for d in range(8) if math.isclose(step, round(step, d), rel_tol=1e-6))
        parts = []
        for tick in self.ticks:
            y = self.place((0.0, tick))[1]
            parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
            parts.append(f'<text class="tick end" x="{LEFT - 8}" y="{y + 4:.1f}">{number(tick, digits)}</text>')
        parts.append(f'<text class="tick" x="{LEFT}" y="{HEIGHT - 8}">{text(self.ends[0])}</text>')
        parts.append(f'<text class="tick end" x="{WIDTH - RIGHT}" y="{HEIGHT - 8}">{text(self.ends[1])}</text>')
        return "".join(parts)


def chart(title: str, lines: Sequence[Line], ends: tuple[str, str] | None = None) -> str:
    """A figure with at most four lines, or a quiet block in its size while nothing is measured.

    ends: what stands below the two ends of the axis, which begins at 0; updates when not given.
    """
    kept = [(line.label, decimate(finite(line.points))) for line in lines[:MOST_LINES]]
    kept = [(label, points) for label, points in kept if points]
    caption = f"<figcaption>{text(title)}</figcaption>"
    if not kept:
        return f'<figure class="chart">{caption}<div class="blank">{say("Nothing measured yet")}</div></figure>'
    values = [y for _, points in kept for _, y in points]
    last = max(x for _, points in kept for x, _ in points) or 1.0
    axes = _Axes(last, _ticks(min(values), max(values)), ends or ("0", say("update {update}", update=f"{last:.0f}")))
    drawn = [
        axes.drawn(),
        *(_curve(index, points, axes) for index, (_, points) in enumerate(kept)),
        _labels(kept, axes),
    ]
    told = "; ".join(
        say("{what} from {first} to {last}", what=label, first=number(points[0][1]), last=number(points[-1][1]))
        for label, points in kept
    )
    return (
        f'<figure class="chart">{caption}<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{text(f"{title}: {told}")}">{"".join(drawn)}</svg></figure>'
    )


def _curve(index: int, points: Sequence[Point], axes: _Axes) -> str:
    places = [axes.place(point) for point in points]
    if len(places) == 1:
        return f'<circle class="dot dot-{index}" cx="{places[0][0]}" cy="{places[0][1]}" r="3"/>'
    path = "L".join(f"{x} {y}" for x, y in places)
    return f'<path class="line line-{index}" d="M{path}"/>'


def _labels(lines: Sequence[tuple[str, Sequence[Point]]], axes: _Axes) -> str:
    """Each line's name and last value beside its end, pushed apart where lines end close together."""
    ends = sorted((axes.place(points[-1])[1], index) for index, (_, points) in enumerate(lines))
    room = HEIGHT - BOTTOM - LABEL_GAP * (len(ends) - 1)
    parts, previous = [], -math.inf
    for below, (y, index) in enumerate(ends):
        previous = max(min(y, room + LABEL_GAP * below), previous + LABEL_GAP)
        name = f"{lines[index][0]} {number(lines[index][1][-1][1])}"
        parts.append(
            f'<text class="label label-{index}" x="{WIDTH - RIGHT + 8}" y="{previous + 4:.1f}">{text(name)}</text>'
        )
    return "".join(parts)


def decimate(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` points, each the mean of its neighbours; the first and the last stay as they are."""
    if len(points) <= most:
        return list(points)
    inner, buckets = points[1:-1], most - 2
    means = []
    for bucket in range(buckets):
        part = inner[bucket * len(inner) // buckets : (bucket + 1) * len(inner) // buckets]
        means.append((sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)))
    return [points[0], *means, points[-1]]


def smooth(points: Sequence[tuple[float, float | None]], memory: float = 0.85) -> list[tuple[float, float | None]]:
    """A running mean that is unbiased from the first point on."""
    total = weight = 0.0
    result: list[tuple[float, float | None]] = []
    for x, y in finite(points):
        total, weight = memory * total + y, memory * weight + 1
        result.append((x, total / weight))
    return result


def finite(points: Sequence[tuple[float, float | None]]) -> list[Point]:
    """The points that have a number."""
    return [(x, y) for x, y in points if y is not None and math.isfinite(y)]


def _ticks(low: float, high: float) -> list[float]:
    """Three to five round numbers that span low to high."""
    if high - low < 1e-9:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    rough = (high - low) / 3
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]
