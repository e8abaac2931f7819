"""The settings that make a run fit into a card, tried in the order of least harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from toolkit import catalogue
from toolkit import recipe as recipes
from toolkit.recipe import Recipe
from training.rehearsal import LOAD, Findings

MULTIPLE = 16  # pixels: what every family's sizes are divisible by

LIGHTER = ("quantisation", "offload", ".dtype")  # settings that act on weights


def changed(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe with other settings. Raises UsageError when they contradict each other."""
    return recipes.parse(recipe.model_dump(mode="json"), overrides)


def switches(recipe: Recipe) -> Iterator[tuple[str, dict[str, Any]]]:
    """(what it is called, settings), least harm first: the same LoRA slower, then coarser weights, then a smaller task.

    Text encoders are not among them: every run lets them go once its prompts are encoded.
    """
    base, method = settings_of("bases", recipe.base), settings_of("methods", recipe.method)
    budget = recipe.training
    if base.get("gradient_checkpointing") is False:
        yield "gradient checkpointing", {"base.gradient_checkpointing": True}
    if method.get("branches") == "batched":
        yield "branches one after the other", {"method.branches": "sequential"}
    if budget.batch_size > 1:
        steps = budget.batch_size * budget.gradient_accumulation
        yield f"batch 1 with {steps} accumulated", {
            "training.batch_size": 1, "training.gradient_accumulation": steps
        }  # fmt: skip
    if recipe.validation.batch_size > 1:
        yield "checks one picture at a time", {"validation.batch_size": 1}
    scorers = {"reward": recipe.reward, "validation.scorer": recipe.validation.scorer}
    wide = [place for place, section in scorers.items() if settings_of("rewards", section).get("dtype") == "float32"]
    if wide:
        yield "scorers in bfloat16", {f"{place}.dtype": "bfloat16" for place in wide}
    if base.get("quantisation") == "none":
        yield "int8 weights", {"base.quantisation": "int8_weight_only"}
    if base.get("quantisation") in ("none", "int8_weight_only", "int8"):
        yield "nf4 weights", {"base.quantisation": "nf4"}
    if base.get("offload") is False:
        yield "weights in RAM", {"base.offload": True}
    if "width" in base:
        for share in (0.75, 0.5):
            sides = {
                side: max(MULTIPLE, int(base[side] * share) // MULTIPLE * MULTIPLE) for side in ("width", "height")
            }
            yield "x".join(map(str, sides.values())), {f"base.{side}": pixels for side, pixels in sides.items()}
    if recipe.lora.rank > 4:
        yield f"rank {recipe.lora.rank // 2}", {"lora.rank": recipe.lora.rank // 2}


def settings_of(kind: str, section: recipes.Section) -> dict[str, Any]:
    """All settings of a section, defaults included."""
    properties = catalogue.find(kind, section.name).settings.get("properties", {})
    return {name: known.get("default") for name, known in properties.items()} | section.settings


def first_fit(
    recipe: Recipe,
    found: Findings,
    memory: float,
    rehearse: Callable[[Recipe], Findings],
    needed: Callable[[Findings], float],
) -> dict[str, Any] | None:
    """The first switches, one upon the other, with which the run needs no more than `memory` bytes; None: none do.

    A switch that leaves the weights alone is not rehearsed while these are too large by themselves.
    """
    applied: dict[str, Any] = {}
    names: list[str] = []
    too_heavy = needed(Findings(peaks={LOAD: found.peaks[LOAD]})) > memory
    for name, settings in switches(recipe):
        if "base.quantisation" in settings and "int8 weights" in names:
            names.remove("int8 weights")
        names.append(name)
        applied |= settings
        if too_heavy and not any(key.endswith(LIGHTER) for key in settings):
            continue
        found = rehearse(changed(recipe, applied))
        too_heavy = needed(Findings(peaks={LOAD: found.peaks[LOAD]})) > memory
        if needed(found) <= memory:
            return {
                "changes": names, "settings": applied, "phases": found.peaks,
                "peak_bytes": found.peak, "needed_bytes": int(needed(found)),
            }  # fmt: skip
    return None
