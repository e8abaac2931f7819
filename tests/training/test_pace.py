"""The learning rate and the skipping of updates follow the gradients' running length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.recipe import Optimizer
from training.pace import GRACE, Pace

norms = st.lists(st.floats(1e-6, 1e6), max_size=40)


@given(norms)
def test_by_default_every_update_counts_fully(seen: list[float]) -> None:
    pace = Pace(Optimizer(), seen)
    assert pace.share == 1
    assert not pace.is_wild(1e30)


@given(norms, st.integers(0, 40))
def test_a_pace_taken_up_again_is_the_same(seen: list[float], at: int) -> None:
    settings = Optimizer(calm_norm=1.0, skip_above=5.0)
    resumed = Pace(settings, seen[:at])
    for norm in seen[at:]:
        resumed.see(norm)
    assert resumed.share == Pace(settings, seen).share


def test_the_learning_rate_falls_in_proportion_and_comes_back() -> None:
    pace = Pace(Optimizer(calm_norm=2.0), [8.0])
    assert pace.share == 0.25
    for _ in range(60):
        pace.see(1.0)
    assert pace.share == 1


def test_a_wild_gradient_is_skipped_once_the_usual_is_known_and_a_lasting_one_is_believed() -> None:
    settings = Optimizer(skip_above=5.0)
    assert not Pace(settings, [1.0] * (GRACE - 1)).is_wild(6.0)
    pace = Pace(settings, [1.0] * GRACE)
    assert pace.is_wild(6.0)
    assert not pace.is_wild(4.0)
    for _ in range(10):
        pace.see(6.0)
    assert not pace.is_wild(6.0)


@pytest.mark.parametrize("settings", [{"calm_norm": 0.0}, {"skip_above": 1.0}])
def test_limits_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(ValueError, match="greater than"):
        Optimizer(**settings)
