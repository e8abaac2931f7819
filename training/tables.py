"""From a name in a recipe to an object: the tables are read here, and nowhere by name."""

from __future__ import annotations

import importlib
from typing import Any

from pydantic import BaseModel, ValidationError

from toolkit.errors import UsageError, did_you_mean
from toolkit.recipe import Section
from training.bases import BASES
from training.contracts import Base, Method, Reward
from training.methods import METHODS
from training.rewards import REWARDS


def load_class(table: dict[str, str], name: str) -> Any:
    """The class behind a table's name. Raises UsageError with the nearest name."""
    if name not in table:
        raise UsageError(f"`{name}` is not in the table.", action=did_you_mean(name, table))
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def settings_model(cls: Any) -> type[BaseModel]:
    """The pydantic class of an entry's settings: a method is its own, a base or a reward names one or has none."""
    return cls if issubclass(cls, BaseModel) else getattr(cls, "Settings", NoSettings)


class NoSettings(BaseModel):
    """For entries that have nothing to set."""

    model_config = {"extra": "forbid", "frozen": True}


def method(section: Section) -> Method:
    """The method with its settings. Raises UsageError when they do not fit together."""
    return _settings(load_class(METHODS, section.name), section)  # type: ignore[return-value]


def base(section: Section) -> Base:
    """The base, loaded on the CPU."""
    return _build(load_class(BASES, section.name), section)


def reward(section: Section) -> Reward:
    """The reward, loaded on the CPU, frozen. One whose settings name other rewards receives them built.

    Raises UsageError, also when a held-out scorer is to be part of another.
    """
    cls = load_class(REWARDS, section.name)
    settings = _settings(cls, section)
    if not hasattr(settings, "sections"):
        return _build(cls, section)
    parts: list[Section] = settings.sections()  # type: ignore[attr-defined]
    for part in parts:
        if load_class(REWARDS, part.name).held_out:
            raise UsageError(f"`{part.name}` judges the final report and may not be part of `{section.name}`.")
    return cls(settings, [reward(part) for part in parts])


def _build(cls: Any, section: Section) -> Any:
    settings = _settings(cls, section)
    return cls() if isinstance(settings, NoSettings) else cls(settings)


def _settings(cls: Any, section: Section) -> BaseModel:
    try:
        return settings_model(cls)(**section.settings)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([section.name, *map(str, first["loc"])])
        raise UsageError(f"`{place}` is not right: {first['msg'].removeprefix('Value error, ')}.") from None
