"""What a recipe needs on this machine and what a folder holds: worked out aside, drawn when it is there."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit import pairs, plan
from toolkit.aside import Aside
from toolkit.errors import PalateError, UsageError
from toolkit.pairs import Findings
from toolkit.recipe import Recipe
from toolkit.studio import plan_markup, recipe_form, tastes
from toolkit.studio.markup import problem

LEAST_GB, MOST_GB = 1.0, 10_000.0


@dataclass(frozen=True)
class Planned:
    """The plan's part of the page, the settings that would make it fit, and whether more is to come."""

    drawn: str
    settings: dict[str, Any] = field(default_factory=dict)
    is_coming: bool = False


class Planning:
    """Asks for one Studio."""

    def __init__(self, root: Path) -> None:
        """root: the folder of all runs."""
        self._root = root
        self._plans: Aside[tuple[str, float | None, bool], dict[str, Any]] = Aside(self._plan)
        self._found: Aside[tuple[Any, ...], Findings] = Aside(lambda key: pairs.read(key[0], key[1]))

    def needs(self, content: str, card: str) -> Planned:
        """What this YAML needs; card: GB to plan for as typed, or nothing for this machine. Never blocks."""
        try:
            memory = float(card.replace(",", ".").casefold().removesuffix("gb")) if card.strip() else None
        except ValueError:
            memory = math.nan
        if memory is not None and not LEAST_GB <= memory <= MOST_GB:
            return Planned(plan_markup.no_such_card(LEAST_GB))
        try:
            checked = recipe_form.supposed(content)
        except UsageError:
            return Planned(plan_markup.not_yet())
        key = (_what_counts(checked).to_yaml(), memory)
        found = self._plans.glance((*key, False))
        if found is None:
            return Planned(plan_markup.working(), is_coming=True)
        if isinstance(found, PalateError):
            return Planned(problem(found))
        if found["device"]["fits"] is not False:
            return Planned(plan_markup.plan(found))
        fitting = self._plans.glance((*key, True))
        if fitting is None:
            return Planned(plan_markup.plan(found, is_searching=True), is_coming=True)
        if isinstance(fitting, PalateError):
            return Planned(plan_markup.plan(found) + problem(fitting))
        return Planned(plan_markup.plan(fitting), dict((fitting["fit"] or {}).get("settings", {})))

    def _plan(self, key: tuple[str, float | None, bool]) -> dict[str, Any]:
        content, memory, fit = key
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "recipe.yaml"
            file.write_text(content, encoding="utf-8")
            return plan.ask(file, {}, memory=memory, output=self._root, fit=fit)

    def holds(self, taste: str, folder: str) -> tuple[str, bool]:
        """What is found in a folder of that kind of taste, and whether that is still to come. Never blocks."""
        place = folder.strip()[: tastes.LONGEST_PLACE]
        if taste == tastes.WORDS:
            return "", False
        if not place:
            return plan_markup.no_folder(taste), False
        found = self._found.glance((taste, place, _stamp(place)))
        if found is None:
            return plan_markup.reading(), True
        return (problem(found) if isinstance(found, PalateError) else plan_markup.holds(found, taste)), False


def _what_counts(checked: Recipe) -> Recipe:
    """The recipe without what no plan depends on: its name, its seed, and which words they are."""
    words = tuple(
        pair.model_copy(update={"positive": f"more {at}", "negative": f"less {at}"})
        for at, pair in enumerate(checked.words)
    )
    training = checked.training.model_copy(update={"seed": 0})
    return checked.model_copy(update={"name": "plan", "words": words, "training": training})


def _stamp(place: str) -> tuple[int, ...]:
    """Changes when files come or go, in the folder or in one directly below; a folder of a thousand is quick to ask."""
    try:
        path = Path(place).expanduser()
        below = [each for each in path.iterdir() if each.is_dir()] if path.is_dir() else []
        return (path.stat().st_size, *(each.stat().st_mtime_ns for each in [path, *sorted(below)[:1000]]))
    except (OSError, ValueError, RuntimeError):
        return ()
