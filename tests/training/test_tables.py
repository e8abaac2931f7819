"""From a recipe's section to an object, and what is said when that cannot be."""

from __future__ import annotations

import pytest

from toolkit.errors import UsageError
from toolkit.recipe import Section
from training import tables
from training.bases import BASES
from training.methods import METHODS
from training.methods.srpo import Srpo


def test_a_method_is_made_with_its_settings() -> None:
    method = tables.method(Section(name="srpo", settings={"rollout_steps": 7}))
    assert isinstance(method, Srpo)
    assert method == Srpo(rollout_steps=7)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"`srpoo` is not in the table. Did you mean `srpo`\?"):
        tables.load_class(METHODS, "srpoo")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sigma_high": 0.99}, r"`srpo.sigma_high` is not right: .*0.97"),
        ({"sigma_low": 0.9, "sigma_high": 0.5}, r"sigma_low < sigma_high must hold"),
        ({"no_such": 1}, r"`srpo.no_such` is not right"),
    ],
)
def test_a_setting_out_of_its_range_is_named_with_its_limit(settings: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        tables.method(Section(name="srpo", settings=settings))


def test_a_base_may_have_settings_and_a_judge_has_none() -> None:
    assert "weights" in tables.settings_model(tables.load_class(BASES, "demo")).model_fields
    with pytest.raises(UsageError, match=r"`demo_judge.strict`"):
        tables.reward(Section(name="demo_judge", settings={"strict": True}))
