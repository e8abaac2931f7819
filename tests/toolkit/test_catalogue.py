"""The catalogue: what can be chosen, known without loading anything heavy."""

import pytest

from toolkit import catalogue
from toolkit.errors import UsageError


def test_every_kind_has_entries_that_say_what_they_are() -> None:
    table = catalogue.load()
    assert set(table) == set(catalogue.KINDS)
    for kind, entries in table.items():
        assert entries, kind
        assert all(entry.summary and entry.name == name for name, entry in entries.items())


def test_defaults_satisfy_their_own_limits() -> None:
    for kind, entries in catalogue.load().items():
        for name, entry in entries.items():
            catalogue.check_settings(kind, name, entry.defaults())


def test_every_setting_explains_itself() -> None:
    silent = [
        f"{name}.{key}"
        for entries in catalogue.load().values()
        for name, entry in entries.items()
        for key, field in entry.settings.get("properties", {}).items()
        if not field.get("description")
    ]
    assert silent == []


def test_a_setting_out_of_range_is_refused_with_its_meaning() -> None:
    with pytest.raises(UsageError) as caught:
        catalogue.check_settings("methods", "srpo", {"rollout_steps": 0})
    assert "`srpo.rollout_steps` cannot be 0" in caught.value.what
    assert "steps" in caught.value.action


def test_an_unknown_kind_of_value_is_refused() -> None:
    with pytest.raises(UsageError, match=r"`srpo\.rollout_steps` cannot be 'ten'"):
        catalogue.check_settings("methods", "srpo", {"rollout_steps": "ten"})


def test_there_is_a_judge_that_nothing_may_train_on() -> None:
    held_out = [entry.name for entry in catalogue.load()["rewards"].values() if entry.held_out]
    assert held_out == ["demo_judge"]
