"""The plots of a bench, drawn by matplotlib (`pip install palate[bench]`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.bench.figures import ArmFigures
from toolkit.bench.intervals import difference, interval
from toolkit.errors import UsageError

FAMILIES = {"direct": "o", "pairs": "s", "groups": "^"}
DASHES = ("-", "--", ":")  # beside ten colours: thirty lines that differ


def frontier(path: Path, arms: Mapping[str, ArmFigures], families: Mapping[str, str]) -> None:
    """Judge against drift at equal seconds: who moved taste most per change of the pictures.

    families: an arm's family, for its mark. Raises UsageError without matplotlib.
    """
    figure, axes = _canvas(9, 6)
    for name, arm in arms.items():
        update = arm.at("wall")
        gain = interval([arm.pictures("judge", update), arm.pictures("judge", 0)], difference)
        drift = sum(arm.value("distance", update)) / len(arm.runs)
        spread = [[gain.value - gain.low], [gain.high - gain.value]]
        axes.errorbar(drift, gain.value, yerr=spread, fmt=FAMILIES[families[name]], capsize=2, markersize=5, lw=0.8)
        axes.annotate(name, (drift, gain.value), xytext=(4, 3), textcoords="offset points", fontsize=6.5)
    axes.axhline(0, color="grey", lw=0.6)
    axes.set_xlabel("drift: 1 - cosine to the base's picture, in the untrained reward's features")
    axes.set_ylabel("judge, minus the base's (95 % interval)")
    axes.set_title("At equal seconds. Circles: a reward's gradient; squares: pictures; triangles: groups")
    _save(figure, path)


def curves(path: Path, arms: Sequence[ArmFigures]) -> None:
    """The judge over seconds of training, mean over seeds with their range."""
    figure, axes = _canvas(9, 5)
    for place, arm in enumerate(arms):
        seconds = [update * arm.seconds_per_update for update in arm.updates]
        means = [array.mean(axis=1) for array in arm.curve("judge")]
        line = axes.plot(seconds, [values.mean() for values in means], label=arm.name, **_look(place))[0]
        lows, highs = ([edge(values) for values in means] for edge in (min, max))
        axes.fill_between(seconds, lows, highs, color=line.get_color(), alpha=0.12)
    axes.set_xlabel("seconds of training, one thread")
    axes.set_ylabel("judge: share in the positive style")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    _save(figure, path)


def by_sigma(path: Path, title: str, lines: Mapping[str, Mapping[float, float]], scale: str = "linear") -> None:
    """One line per arm over noise levels, 0 = picture, 1 = noise; scale: the upright axis's, as matplotlib names it."""
    figure, axes = _canvas(8.5, 4.5)
    for place, (name, points) in enumerate(lines.items()):
        axes.plot(list(points), list(points.values()), label=name, **_look(place))
    axes.set_yscale(scale)
    axes.set_xlabel("noise level σ")
    axes.set_ylabel(title)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    _save(figure, path)


def _look(place: int) -> dict[str, Any]:
    """Of the line number `place`: no two alike."""
    return {"color": f"C{place % 10}", "linestyle": DASHES[place // 10], "marker": "o", "markersize": 3}


def _canvas(width: float, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise UsageError("The plots need matplotlib.", action="pip install palate[bench]") from None
    figure = Canvas(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.25, lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140, metadata={"Software": None})
