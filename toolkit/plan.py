"""Before a run: what would go wrong later, said now, in plain language."""

from __future__ import annotations

import shutil
from pathlib import Path

from toolkit import prompts
from toolkit.errors import UsageError
from toolkit.recipe import Recipe

LEAST_FREE_BYTES = 200 * 2**20


def preflight(recipe: Recipe, output: Path | None = None) -> None:
    """Look at every file a run will need. Raises UsageError for the first thing that cannot work."""
    lists = {role: prompts.read(source) for role, source in recipe.prompts}
    texts = {role: {prompt.text for prompt in content} for role, content in lists.items()}
    for first, second in (("train", "test"), ("validation", "test"), ("train", "validation")):
        if shared := sorted(texts[first] & texts[second]):
            raise UsageError(
                f"The {first} and {second} prompts share {len(shared)}, such as “{shared[0]}”.",
                cause="What trains or selects a LoRA must not report on it.",
                action=f"Take them out of one list (`prompts.{second}`).",
            )
    if output is not None:
        _check_disk(output)


def _check_disk(output: Path) -> None:
    place = next(parent for parent in (output.resolve(), *output.resolve().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        raise UsageError(
            f"Only {free // 2**20} MB are free where the run would be written.",
            cause=f"It needs about {LEAST_FREE_BYTES // 2**20} MB.",
            action="Free some space, or choose another disk with --output.",
        )
