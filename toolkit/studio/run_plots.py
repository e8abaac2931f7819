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
from toolkit.studio.speech import phrase, say

SMOOTHED_FROM = 8  # losses; fewer are drawn as they are
LOOKS = {
    "saturation": phrase("colour"), "brightness": phrase("light"), "clipped": phrase("burnt"),
    "texture": phrase("texture"),
}  # fmt: skip
REWARDS = {"reward": phrase("taste"), "second": phrase("second")}
SUBJECTS = {"diversity": phrase("diversity"), "recall": phrase("subject")}
HELD_OUT = {"held_out_accuracy": phrase("told apart")}
# What methods log by noise level; others are shown by their own names.
LEVELLED = {
    "accuracy": phrase("Accuracy"), "gap_chosen": phrase("Gap of the chosen"),
    "gap_rejected": phrase("Gap of the rejected"), "logit": phrase("Logit"), "masked": phrase("Masked"),
    "latent_score": phrase("Latent score"),
}  # fmt: skip
LEVEL = re.compile(r"(.+)\.sigma_(\d\.\d)")  # "accuracy.sigma_0.3": between noise levels 0.3 and 0.4
LEVEL_WIDTH = 0.1
Points = list[tuple[float, float | None]]


def plots(view: View) -> str:
    """All of them, as many as the run has numbers for."""
    figures = [
        charts.chart(say("Loss"), _loss(view)),
        charts.chart(say("Taste and second reward"), _checked(view, REWARDS)),
        charts.chart(say("Diversity and subject"), _checked(view, SUBJECTS)),
        charts.chart(say("Looks, beside the base"), _beside_base(view)),
    ]
    if held_out := _checked(view, HELD_OUT):
        figures.append(charts.chart(say("Held-out pairs"), held_out))
    ends = (say("early (noise)"), say("late (image)"))
    figures += [
        charts.chart(say("{what} by noise level", what=_levelled(name)), lines, ends=ends)
        for name, lines in _by_level(view.of("update")).items()
    ]
    return f'<div class="charts">{"".join(figures)}</div>'


def _levelled(name: str) -> str:
    known = LEVELLED.get(name)
    return say(known) if known else name.replace("_", " ").capitalize()


def _loss(view: View) -> list[Line]:
    loss: Points = [(event["update"], event.get("metrics", {}).get("loss")) for event in view.of("update")]
    line = Line(say("loss"), loss)
    return [Line(say("mean"), charts.smooth(loss)), line] if len(loss) > SMOOTHED_FROM else [line]


def _checked(view: View, labels: Mapping[str, str]) -> list[Line]:
    """One line per value that the checks hold."""
    lines = []
    for key, label in labels.items():
        points: Points = [(check["update"], check["values"].get(key)) for check in view.checks]
        if charts.finite(points):
            lines.append(Line(say(label), points))
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
    now = say("now")
    parts = {say("begin"): updates[:quarter], now: updates[-quarter:]} if len(updates) > 1 else {now: updates}
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
