"""The tables and their catalogue: complete, sorted, described, and not stale."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from toolkit.catalogue import Entry
from training import describe, tables

ENTRIES = [(kind, name) for kind, table in describe.TABLES.items() for name in table]
SETTINGS = [
    (kind, name, key)
    for kind, name in ENTRIES
    for key in tables.settings_model(tables.load_class(describe.TABLES[kind], name)).model_fields
]


def shipped() -> dict[str, Any]:
    return json.loads((files("toolkit") / "catalogue.json").read_text(encoding="utf-8"))


def test_the_catalogue_is_not_stale() -> None:
    """Mend with: python -m training describe --write."""
    assert shipped() == json.loads(json.dumps(describe.catalogue()))


@pytest.mark.parametrize("kind", describe.TABLES)
def test_tables_are_sorted_and_every_line_is_in_the_catalogue(kind: str) -> None:
    table = describe.TABLES[kind]
    assert list(table) == sorted(table)
    assert list(table) == list(shipped()[kind])


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_entry_has_a_one_line_summary_and_known_capabilities(kind: str, name: str) -> None:
    entry = Entry(name=name, **shipped()[kind][name])
    assert 20 < len(entry.summary) <= 200
    assert entry.summary.endswith((".", "?"))
    offered = {
        word for line in [*shipped()["bases"].values(), *shipped()["rewards"].values()] for word in line["gives"]
    }
    assert set(entry.needs) <= offered | {"words", "pairs", "photos", "likes", "scores"}


@pytest.mark.parametrize(("kind", "name", "key"), SETTINGS)
def test_every_setting_has_a_description_a_default_and_bounds(kind: str, name: str, key: str) -> None:
    field = shipped()[kind][name]["settings"]["properties"][key]
    assert len(field.get("description", "")) > 10
    assert "default" in field
    if field.get("type") in ("integer", "number"):
        assert {"minimum", "exclusiveMinimum"} & set(field), "a number needs a lower bound"


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_unknown_settings_are_refused(kind: str, name: str) -> None:
    model = tables.settings_model(tables.load_class(describe.TABLES[kind], name))
    with pytest.raises(ValueError, match="Extra inputs"):
        model(no_such_setting=1)


@pytest.mark.parametrize("name", describe.TABLES["methods"])
def test_a_method_is_made_from_its_defaults(name: str) -> None:
    cls = tables.load_class(describe.TABLES["methods"], name)
    assert cls().needs <= {"differentiable", "text_conditioned", "words"} | set(cls.needs)
    assert callable(cls().losses)
