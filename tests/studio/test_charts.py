import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from toolkit.studio import charts


def test_decimation_keeps_ends_and_mean_within_the_limit() -> None:
    points = [(float(i), float(i)) for i in range(5000)]
    kept = charts.decimate(points)
    assert len(kept) == charts.MOST_POINTS
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert sum(y for _, y in kept) / len(kept) == pytest.approx(2499.5, rel=0.01)


def test_a_smoothed_constant_stays_where_it_is() -> None:
    assert all(y == pytest.approx(3.0) for _, y in charts.smooth([(i, 3.0) for i in range(50)]))


@pytest.mark.parametrize(
    "values", [[0.0, 1.0], [0.31, 0.44], [-250.0, 1e4], [1e-6, 2e-6], [5.0, 5.0], [0.0, 0.0], [-0.1, -0.1]]
)
def test_axes_hold_all_values_between_few_round_ticks(values: list[float]) -> None:
    ticks = charts._ticks(min(values), max(values))
    assert ticks[0] <= min(values) <= max(values) <= ticks[-1]
    assert 3 <= len(ticks) <= 6


def test_a_chart_is_whole_svg_with_a_label_per_line_and_no_gaps_from_missing_numbers() -> None:
    lines = [
        charts.Line("taste <b>", [(0, 0.3), (10, None), (20, 0.4), (30, math.nan)]),
        charts.Line("second", [(0, 0.1)]),
    ]
    drawn = charts.chart("Taste", lines)
    tree = ElementTree.fromstring(drawn)
    labels = ["".join(label.itertext()) for label in tree.iter("text") if "label" in label.get("class", "")]
    assert sorted(labels) == ["second 0.10", "taste <b> 0.40"]
    assert "nan" not in drawn.lower()


def test_labels_never_overlap() -> None:
    tree = ElementTree.fromstring(charts.chart("x", [charts.Line(str(i), [(0, 0), (1, 1.0)]) for i in range(4)]))
    heights = sorted(float(label.get("y", "0")) for label in tree.iter("text") if "label-" in label.get("class", ""))
    assert all(b - a >= charts.LABEL_GAP - 0.2 for a, b in pairwise(heights))
    assert heights[-1] <= charts.HEIGHT - charts.BOTTOM + 5


def test_nothing_measured_is_said() -> None:
    assert "Nothing measured yet" in charts.chart("Loss", [charts.Line("loss", [])])
