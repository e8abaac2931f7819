"""Which plots a run has, and what they show."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace

from toolkit.run_folder import RunFolder
from toolkit.studio import reading, run_plots

MakeRun = Callable[..., RunFolder]


def titles(drawn: str) -> list[str]:
    return re.findall(r"<figcaption>([^<]*)<", drawn)


def test_looks_are_multiples_of_the_base(told: SimpleNamespace, make_run: MakeRun) -> None:
    run = make_run(best=None)
    told.append(run, told.check(30, texture=0.25))
    drawn = run_plots.plots(reading.view(run))
    assert titles(drawn) == ["Loss", "Taste and second reward", "Diversity and subject", "Looks, beside the base"]
    assert "texture from 1.00 to 2.50" in drawn


def test_what_is_logged_by_noise_level_runs_from_noise_to_image(told: SimpleNamespace, make_run: MakeRun) -> None:
    run = make_run(best=None)
    for number in range(21, 41):
        event = told.update(number)
        late = number > 30
        event["metrics"] |= {"accuracy.sigma_0.0": 0.9 if late else 0.5, "accuracy.sigma_0.9": 0.6, "x.sigma_in": 3.0}
        told.append(run, event)
    drawn = run_plots.plots(reading.view(run))
    assert titles(drawn)[-1] == "Accuracy by noise level"
    assert "now from 0.60 to 0.90" in drawn  # σ 0.9 first
    assert "early (noise)" in drawn


def test_held_out_pairs_are_plotted_where_there_are_some(told: SimpleNamespace, make_run: MakeRun) -> None:
    run = make_run(best=None)
    told.append(run, told.check(30, held_out_accuracy=0.7))
    assert "Held-out pairs" in titles(run_plots.plots(reading.view(run)))
