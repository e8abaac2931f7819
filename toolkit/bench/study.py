"""What a bench runs: arms, budgets and sweeps from methods.yaml, and the recipes that they stand for."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, model_validator

from toolkit import catalogue, recipe
from toolkit.bench.question import Question
from toolkit.recipe import Recipe
from toolkit.recipe_parts import Part

MADE = "made:"  # begins the name of a data set or weights that the bench makes


class Budget(Part):
    """What every arm may spend."""

    seconds: float = Field(gt=0, description="Training of a run, in seconds on one thread.")
    samples: int = Field(ge=1, description="Pictures or pairs that gradients come from, at equal data.")
    sweep_seconds: float = Field(gt=0, description="Training of each candidate of a sweep.")
    sweep_seed: int = Field(description="No seed of the report.")
    seeds: tuple[int, ...] = Field(min_length=1, description="Runs of each arm.")


class Arm(Part):
    """One row of the table: what it adds to the shared recipe."""

    sweep: str = Field(default="", description="Its candidates, by name.")
    like: str = Field(default="", description="The arm whose sweep decides, where it has none of its own.")
    method: dict[str, Any]
    data: dict[str, str] = Field(default_factory=dict)
    reward: Any = None
    training: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _decided(self) -> Arm:
        if bool(self.sweep) == bool(self.like):
            raise ValueError("an arm has either a sweep or the arm whose sweep it takes")
        return self


class Study(Part):
    """A whole bench."""

    budget: Budget
    recipe: dict[str, Any]
    sweeps: dict[str, list[dict[str, Any]]]
    arms: dict[str, Arm]
    questions: tuple[Question, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Study:
        named = [name for question in self.questions for name in question.arms]
        named += [arm.like for arm in self.arms.values() if arm.like]
        if unknown := set(named) - set(self.arms):
            raise ValueError(f"no arm is called {sorted(unknown)[0]!r}")
        return self

    def made_names(self) -> set[str]:
        """What the arms learn from that a bench makes, without `MADE`."""
        return {name.removeprefix(MADE) for name in _strings(self.model_dump(mode="json")) if name.startswith(MADE)}

    def curves(self) -> set[str]:
        """The arms that a question follows from update to update."""
        return {name for question in self.questions if question.kind != "compare" for name in question.arms}

    def swept(self, name: str) -> str:
        """The arm whose sweep decides the settings of `name`."""
        return self.arms[name].like or name

    def candidates(self, name: str) -> list[dict[str, Any]]:
        """The settings that a sweep tries for `name`, as dotted keys."""
        return self.sweeps[self.arms[self.swept(name)].sweep]

    def made_recipe(self, name: str, made: Path, settings: Mapping[str, Any]) -> Recipe:
        """The checked recipe of an arm; `made`: the folder of the data sets and weights. Raises UsageError."""
        arm, tree = self.arms[name], copy.deepcopy(self.recipe)
        tree |= {"name": slug(name), "method": arm.method, "data": arm.data}
        tree |= {"reward": arm.reward} if arm.reward else {}
        tree["training"] = tree.get("training", {}) | arm.training
        return recipe.parse(_placed(tree, made), settings)


def read() -> Study:
    """The bench of the methods."""
    text = (files("toolkit.bench") / "methods.yaml").read_text(encoding="utf-8")
    return Study.model_validate(yaml.safe_load(text))


def slug(name: str) -> str:
    """An arm's name as a folder's."""
    return re.sub(r"[^a-z0-9_]+", "-", name)


def samples_per_update(content: Recipe) -> int:
    """Pictures or pairs whose gradient one update follows: of a group, every member."""
    settings = catalogue.find("methods", content.method.name).defaults() | content.method.settings
    return content.training.batch_size * content.training.gradient_accumulation * settings.get("group_size", 1)


def _placed(value: Any, made: Path) -> Any:
    """Names of what the bench makes become its paths, at any depth."""
    if isinstance(value, list):
        return [_placed(item, made) for item in value]
    if isinstance(value, Mapping):
        return {key: _placed(inner, made) for key, inner in value.items()}
    named = isinstance(value, str) and value.startswith(MADE)
    return str(made / value.removeprefix(MADE)) if named else value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(inner)
