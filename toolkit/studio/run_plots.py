"""A run's plots as HTML: loss, rewards, what guards them, and what methods log by noise level. Purely from a View."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from toolkit.event_reader import Event
from toolkit.studio import charts
from toolkit.studio.charts import Line
from toolkit.studio.reading import View

SMOOTHED_FROM = 8  # losses; fewer are drawn as they are
LOOKS = {"saturation": "colour", "brightness": "light", "clipped": "burnt", "texture": "texture"}
LEVEL = re.compile(r"(.+)\.sigma_(\d\.\d)")  # "accuracy.sigma_0.3": between noise levels 0.3 and 0.4
LEVEL_WIDTH = 0.1
Points = list[tuple[float, float | None]]


def plots(view: View) -> str:
    """All of them, as many as the run has numbers for."""
    figures = [
        charts.chart("Loss", _loss(view)),
        charts.chart("Taste and second reward", _checked(view, {"reward": "taste", "second": "second"})),
        charts.chart("Diversity and subject", _checked(view, {"diversity": "diversity", "recall": "subject"})),
        charts.chart("Looks, beside the base", _beside_base(view)),
    ]
    if held_out := _checked(view, {"held_out_accuracy": "told apart"}):
        figures.append(charts.chart("Held-out pairs", held_out))
    figures += [
        charts.chart(
            f"{name.replace('_', ' ').capitalize()} by noise level", lines, ends=("early (noise)", "late (image)")
        )
        for name, lines in _by_level(view.of("update")).items()
    ]
    return f'<div class="charts">{"".join(figures)}</div>'


def _loss(view: View) -> list[Line]:
    loss: Points = [(event["update"], event.get("metrics", {}).get("loss")) for event in view.of("update")]
    line = Line("loss", loss)
    return [Line("mean", charts.smooth(loss)), line] if len(loss) > SMOOTHED_FROM else [line]


def _checked(view: View, labels: Mapping[str, str]) -> list[Line]:
    """One line per value that the checks hold."""
    lines = []
    for key, label in labels.items():
        points: Points = [(check["update"], check["values"].get(key)) for check in view.checks]
        if charts.finite(points):
            lines.append(Line(label, points))
    return lines


def _beside_base(view: View) -> list[Line]:
    """Statistics of the pictures as multiples of the base's; one that the base has none of is left out."""
    lines = []
    for line in _checked(view, LOOKS):
        base = line.points[0][1]
        if base:
            lines.append(Line(line.label, [(at, value and value / base) for at, value in line.points]))
    return lines


def _by_level(updates: Sequence[Event]) -> dict[str, list[Line]]:
    """What is logged by noise level, over 1 - sigma: in the run's first quarter and in its last, where both differ."""
    quarter = max(1, len(updates) // 4)
    parts = {"begin": updates[:quarter], "now": updates[-quarter:]} if len(updates) > 1 else {"now": updates}
    charted = defaultdict[str, list[Line]](list)
    for label, part in parts.items():
        for name, points in _means_by_level(part).items():
            charted[name].append(Line(label, points))
    return charted


def _means_by_level(updates: Sequence[Event]) -> dict[str, Points]:
    values = defaultdict[str, defaultdict[float, list[float]]](lambda: defaultdict(list))
    for event in updates:
        for key, value in event.get("metrics", {}).items():
            found = LEVEL.fullmatch(key)
            if found and value is not None:
                values[found[1]][round(1 - float(found[2]) - LEVEL_WIDTH / 2, 3)].append(value)
    return {name: [(at, statistics.fmean(of[at])) for at in sorted(of)] for name, of in values.items()}
