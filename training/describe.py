"""The catalogue: every table with summaries, capabilities and settings, for those who may not import this package."""

from __future__ import annotations

import inspect
from typing import Any

from training.bases import BASES
from training.methods import METHODS
from training.rewards import REWARDS
from training.tables import load_class, settings_model

TABLES = {"methods": METHODS, "bases": BASES, "rewards": REWARDS}


def catalogue() -> dict[str, dict[str, Any]]:
    """kind → name → entry, as `toolkit.catalogue` reads it."""
    return {kind: {name: _entry(load_class(table, name)) for name in sorted(table)} for kind, table in TABLES.items()}


def _entry(cls: Any) -> dict[str, Any]:
    schema = settings_model(cls).model_json_schema()
    schema.pop("description", None)
    return {
        "summary": (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " "),
        "needs": sorted(getattr(cls, "needs", ())),
        "gives": sorted(getattr(cls, "gives", ())),
        "held_out": bool(getattr(cls, "held_out", False)),
        "settings": schema,
    }
