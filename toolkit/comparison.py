"""What is drawn side by side: the base, runs, checkpoints, strengths and style words, at the same prompts and seeds.

A `Comparison` is what was asked. `pin` holds it against the runs on disk and gives a `Request`: the same comparison
with all that decides its pixels, so that the same request finds the same pictures again.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from comfy_nodes.header import caption
from toolkit import catalogue, recipe, run_folder
from toolkit.errors import UsageError
from toolkit.recipe import Recipe
from toolkit.recipe_parts import Part, Section
from toolkit.run_folder import RunFolder

MOST_PICTURES = 96
STRENGTHS = (0.5, 0.75, 1.0, 1.25, 1.5)  # of a sweep
_COLUMN = re.compile(r"(?P<run>[^@*+]+)(@(?P<checkpoint>\d+))?(\*(?P<strength>[^+]*))?(\+(?P<style>.*))?")

Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\r\n]*$")]


class Column(Part):
    """One choice: the base or a run's LoRA, and how it plays."""

    run: str = Field(default="", max_length=100, description="A run's name; empty: the base.")
    checkpoint: int | None = Field(default=None, ge=1, description="The update to play; empty: the finished LoRA.")
    strength: float = Field(default=1.0, ge=-2, le=3, allow_inf_nan=False, description="1 plays as trained.")
    style: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = Field(
        default="", description="Words put before each prompt; empty: none."
    )

    @model_validator(mode="after")
    def _base_alone(self) -> Column:
        if not self.run and (self.checkpoint is not None or self.strength != 1):
            raise ValueError("the base has neither checkpoints nor a strength")
        return self

    @property
    def choice(self) -> str:
        """What plays, without how: `base`, `taste`, `taste @20`."""
        at = f" @{self.checkpoint}" if self.checkpoint is not None else ""
        return f"{self.run}{at}" if self.run else "base"

    @property
    def label(self) -> str:
        """What people read: `taste @20 × 0.5 + 3d render`."""
        strength = f" × {self.strength:g}" if self.strength != 1 else ""
        style = f" + {self.style}" if self.style else ""
        return f"{self.choice}{strength}{style}"

    def text(self, prompt: str) -> str:
        """The prompt as this column draws it."""
        return caption(self.style, prompt) if self.style else prompt


class Cell(NamedTuple):
    """One picture: which column and prompt, and the how-manieth of its seed."""

    column: int
    prompt: int
    number: int


class Comparison(Part):
    """What to draw. Rows are prompts × pictures, columns the choices; one row shares one seed."""

    columns: tuple[Column, ...] = Field(min_length=2, max_length=12, description="What is compared, in reading order.")
    prompts: tuple[Prompt, ...] = Field(min_length=1, max_length=16, description="What is drawn.")
    seed: int = Field(default=42, ge=0, lt=2**31, description="The first picture's seed.")
    pictures: int = Field(default=1, ge=1, le=8, description="Pictures per prompt, each with its own noise.")
    steps: int = Field(default=20, ge=1, le=100, description="Sampling steps.")
    guidance_scale: float | None = Field(
        default=None, ge=0, le=50, allow_inf_nan=False, description="Empty: as the first run's previews."
    )
    width: int | None = Field(default=None, ge=16, le=4096, description="Pixels; empty: as trained.")
    height: int | None = Field(default=None, ge=16, le=4096, description="Pixels; empty: as trained.")

    @field_validator("columns", "prompts")
    @classmethod
    def _differ(cls, given: tuple[Any, ...]) -> tuple[Any, ...]:
        for place, each in enumerate(given):
            if each in given[:place]:
                name = each.label if isinstance(each, Column) else each
                raise ValueError(f"“{name}” is there twice; take one out")
        return given

    @model_validator(mode="after")
    def _bounded(self) -> Comparison:
        if (count := len(self.cells)) > MOST_PICTURES:
            raise ValueError(
                f"{count} pictures are more than {MOST_PICTURES}: choose fewer prompts, columns or pictures per prompt"
            )
        return self

    @cached_property
    def rows(self) -> tuple[tuple[int, int], ...]:
        """(prompt, number) of each row."""
        return tuple(product(range(len(self.prompts)), range(self.pictures)))

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All pictures, column by column: a LoRA is loaded once."""
        return tuple(Cell(column, *row) for column in range(len(self.columns)) for row in self.rows)

    def seed_of(self, number: int) -> str:
        """A row's seed as pictures name it: `42/0`."""
        return f"{self.seed}/{number}"


class Ground(Part):
    """What the base column is: all columns of a comparison stand on the same one."""

    base: Section
    dtype: str
    start: str = ""
    start_strength: float = 1.0
    start_as: str = "merged"


class Request(Part):
    """A comparison and what decides its pixels."""

    comparison: Comparison
    ground: Ground
    loras: tuple[str, ...] = Field(description="Of each column: which state of which file; empty: none.")

    @cached_property
    def name(self) -> str:
        """A short hash: the same request has the same name."""
        return _hash(self.model_dump(mode="json"))[:16]

    def key(self, cell: Cell) -> str:
        """Names one picture, whatever comparison it is part of."""
        asked, column = self.comparison, self.comparison.columns[cell.column]
        facts = asked.model_dump(mode="json", include={"seed", "steps", "guidance_scale", "width", "height"})
        text = column.text(asked.prompts[cell.prompt])
        plays = [self.loras[cell.column], column.strength if column.run else None]
        return _hash([self.ground.model_dump(mode="json"), facts, plays, text, cell.number])[:24]


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def column(written: str) -> Column:
    """From `base`, `RUN`, `RUN@20`, `RUN@20*0.5`, `RUN+3d render`. Raises UsageError."""
    found = _COLUMN.fullmatch(written.strip())
    if not found:
        raise UsageError(f"“{written}” is no choice.", action="Write base, RUN, RUN@UPDATE or RUN@UPDATE*STRENGTH.")
    parts = {name: value.strip() for name, value in found.groupdict().items() if value is not None}
    if parts["run"] == "base":
        parts["run"] = ""
    try:
        return Column.model_validate(parts)
    except ValidationError as error:
        raise UsageError(f"“{written}” is not right: {recipe.explain(error)}") from None


def check(**asked: Any) -> Comparison:
    """A comparison of these fields. Raises UsageError with one sentence about the first that is wrong."""
    try:
        return Comparison.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(str(part) for part in first["loc"] if not isinstance(part, int))
        about = f"`{place}` is not right: " if place else ""
        said = recipe.explain(error)
        raise UsageError(f"{about}{said if about else said[0].upper() + said[1:]}") from None


def pin(root: Path, asked: Comparison) -> Request:
    """Hold a comparison against the runs below `root`. Raises UsageError when one of them cannot be drawn."""
    runs = {name: run_folder.below(root, name) for name in dict.fromkeys(c.run for c in asked.columns) if name}
    if not runs:
        raise UsageError("Nothing but the base was chosen.", action="Choose a run on one side.")
    recipes = {name: run.recipe() for name, run in runs.items()}
    first, *others = recipes.values()
    stands_on = ground(first, asked)
    for other in others:
        if ground(other, asked) != stands_on:
            raise UsageError(
                f"`{first.name}` and `{other.name}` were not trained on the same base.",
                action="Compare runs that share base, precision and start.",
            )
    scale = first.validation.guidance_scale if asked.guidance_scale is None else asked.guidance_scale
    loras = tuple(state_of(adapter_file(runs[c.run], c), root) if c.run else "" for c in asked.columns)
    return Request(comparison=asked.model_copy(update={"guidance_scale": scale}), ground=stands_on, loras=loras)


def ground(content: Recipe, asked: Comparison) -> Ground:
    """The base that a recipe trains on, at the size that was asked for. Raises UsageError for a size it cannot have."""
    sizes = {side: value for side in ("width", "height") if (value := getattr(asked, side)) is not None}
    base = Section(name=content.base.name, settings=content.base.settings | sizes)
    catalogue.check_settings("bases", base.name, base.settings)
    lora = content.lora
    return Ground(
        base=base, dtype=content.training.dtype,
        start=lora.start, start_strength=lora.start_strength, start_as=lora.start_as,
    )  # fmt: skip


def playable(run: RunFolder) -> list[int]:
    """The checkpoints that can be drawn, oldest first: that of update 0 is the base."""
    return [update for update in run.checkpoint_updates() if update]


def adapter_file(run: RunFolder, chosen: Column) -> Path:
    """The file that a column plays: a checkpoint's, or the finished LoRA. Raises UsageError when it is not there."""
    known = playable(run)
    kept = f"Choose one of its checkpoints: {', '.join(map(str, known))}." if known else "It has no checkpoint yet."
    if chosen.checkpoint is not None:
        if chosen.checkpoint not in known:
            raise UsageError(f"`{run.name}` has no checkpoint {chosen.checkpoint}.", action=kept)
        return run.checkpoints / f"{chosen.checkpoint:06d}" / "adapter.safetensors"
    if not (files := run.lora_files()):
        raise UsageError(f"`{run.name}` has no finished LoRA.", action=kept)
    return files[0]


def state_of(path: Path, root: Path) -> str:
    """Which file it is and which writing of it, without reading it."""
    status = path.stat()
    return f"{path.relative_to(root.resolve()).as_posix()} {status.st_size} {status.st_mtime_ns}"
