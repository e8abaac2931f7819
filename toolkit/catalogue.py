"""What can be chosen: methods, bases and rewards with their settings, read from `catalogue.json`.

The file is written by `python -m training describe --write` from the classes themselves, so that recipes, forms and
help can be checked and drawn without loading torch.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
from pydantic import BaseModel, ConfigDict

from toolkit.errors import UsageError, did_you_mean

KINDS = ("methods", "bases", "rewards")


class Entry(BaseModel):
    """One line of a table. `needs` and `gives` are capabilities; a `held_out` scorer may only report."""

    model_config = ConfigDict(frozen=True)

    name: str
    summary: str
    needs: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    held_out: bool = False
    settings: dict[str, Any]  # a JSON schema of one object

    def defaults(self) -> dict[str, Any]:
        """Every setting's default value."""
        return {key: field.get("default") for key, field in self.settings.get("properties", {}).items()}


@cache
def load() -> dict[str, dict[str, Entry]]:
    """kind → name → entry."""
    content = json.loads((files("toolkit") / "catalogue.json").read_text(encoding="utf-8"))
    return {kind: {name: Entry(name=name, **entry) for name, entry in content[kind].items()} for kind in KINDS}


def find(kind: str, name: str) -> Entry:
    """The entry of that name. Raises UsageError with the nearest known name."""
    table = load()[kind]
    if name not in table:
        raise UsageError(f"There is no {kind.removesuffix('s')} `{name}`.", action=did_you_mean(name, table))
    return table[name]


def learning_from(kind: str) -> list[str]:
    """The methods that learn from data of that kind, because they need it or because their `source` may name it."""
    entries = load()["methods"].values()
    return [e.name for e in entries if kind in e.needs or (kind == "photos" and "source" in e.defaults())]


def check_settings(kind: str, name: str, settings: dict[str, Any]) -> None:
    """Hold settings against the entry's schema. Raises UsageError naming key, limit and the nearest known key."""
    entry = find(kind, name)
    known = entry.settings.get("properties", {})
    for key in settings:
        if key not in known:
            raise UsageError(f"`{name}` has no setting `{key}`.", action=did_you_mean(key, known))
    validator = jsonschema.Draft202012Validator(entry.settings)
    for error in sorted(validator.iter_errors(settings), key=lambda error: list(map(str, error.path))):
        place = ".".join(str(part) for part in error.path) or "settings"
        raise UsageError(
            f"`{name}.{place}` cannot be {error.instance!r}: {_reason(error)}.",
            action=known.get(place, {}).get("description", "See `palate describe` for its range."),
        )


def _reason(error: jsonschema.ValidationError) -> str:
    """jsonschema's own words, and for a multiple which ones are near."""
    if error.validator != "multipleOf":
        return error.message
    unit: Any = error.validator_value
    below: Any = error.instance // unit * unit
    near = below if error.instance - below <= below + unit - error.instance else below + unit
    return f"it must be a multiple of {unit}, and the nearest is {near or unit}"
