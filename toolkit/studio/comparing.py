"""What the Compare page shows and asks for, read from runs and comparisons: no Gradio, no writing.

The page's fields are one way to write a comparison; `wanted` turns them into one and `fields` back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit import comparison, prompts
from toolkit.comparison import MOST_PICTURES, STRENGTHS, Cell, Column, Comparison, Request
from toolkit.comparison_folder import ComparisonFolder
from toolkit.errors import UsageError
from toolkit.run_folder import all_runs
from toolkit.studio import reading, run_pictures
from toolkit.studio.before_after import Row, Sheet
from toolkit.studio.reading import View

BASE = "base"
SIDES, SWEEP, WORDS = "sides", "sweep", "words"
PRESETS = (("Side by side", SIDES), ("Strength sweep", SWEEP), ("LoRA × style word", WORDS))
MOST_RUNS = 50  # that can be chosen; older ones can be typed
MOST_TEXT = 10_000  # characters of all prompts together
FIRST_PROMPTS = 3


@dataclass(frozen=True)
class Fields:
    """The page's fields, as they came: nothing in them is trusted."""

    left: Any = BASE
    right: Any = ""
    others: Any = ()
    strength: Any = 1.0
    preset: Any = SIDES
    prompts: Any = ""
    style: Any = ""
    seed: Any = 42
    pictures: Any = 1
    steps: Any = 20
    guidance_scale: Any = None


def choices(root: Path) -> list[tuple[str, str]]:
    """(label, value) of all that can be put on a side: the base, then each run's LoRA and checkpoints."""
    found = [("Base", BASE)]
    for run in all_runs(root)[:MOST_RUNS]:
        view = reading.view(run)
        if view.lora_files and not view.kept_base:
            kept = f" · best, update {view.best}" if view.best else ""
            found.append((f"{run.name}{kept}", run.name))
        found += [(f"{run.name} @{update}", f"{run.name}@{update}") for update in reversed(comparison.playable(run))]
    return found


def first_fields(root: Path, run: str = "") -> Fields:
    """What a fresh page opens with: the base against `run`, or against the newest that can be played."""
    known = [value for _, value in choices(root)[1:]]
    own = [value for value in known if run and comparison.column(value).run == run]
    right = (own or known or [""])[0]
    if not right:
        return Fields()
    view = reading.view(reading.find(root, comparison.column(right).run))
    if view.recipe is None:
        return Fields(right=right)
    return Fields(right=right, prompts="\n".join(_first_prompts(view)), seed=view.recipe.training.seed)


def _first_prompts(view: View) -> list[str]:
    try:
        listed = prompts.read(view.recipe.prompts.validation) if view.recipe else []
    except UsageError:
        return []
    return [prompt.text for prompt in listed[:FIRST_PROMPTS]]


def wanted(root: Path, given: Fields) -> Comparison:
    """The comparison that the fields ask for. Raises UsageError about the first thing that is wrong with them."""
    if not given.right:
        raise UsageError("Nothing is chosen on the right.", action="Choose a run, or one of its checkpoints.")
    if len(str(given.prompts)) > MOST_TEXT:
        raise UsageError(f"These prompts are longer than {MOST_TEXT:,} characters.", action="Take some out.")
    if not isinstance(given.others or [], Sequence) or len(given.others or []) > MOST_PICTURES:
        raise UsageError("These are too many choices.", action="Take some out.")
    lines = [line.strip() for line in str(given.prompts).splitlines() if line.strip()]
    if not lines:
        raise UsageError("There is no prompt.", action="Write one a line.")
    return comparison.check(
        columns=columns(root, given), prompts=lines, seed=given.seed, pictures=given.pictures,
        steps=given.steps, guidance_scale=given.guidance_scale,
    )  # fmt: skip


def columns(root: Path, given: Fields) -> list[dict[str, Any]]:
    """The columns of the chosen preset, unchecked."""
    left, right = (comparison.column(str(side)) for side in (given.left, given.right))
    style = str(given.style or "")
    if given.preset == SWEEP:
        return [_column(left, 1.0, style), *(_column(right, strength, style) for strength in STRENGTHS)]
    if given.preset == WORDS:
        said = ("", style) if style else ("", *_words(root, right))
        return [_column(side, given.strength, word) for word in said for side in (left, right)]
    if given.preset != SIDES:
        raise UsageError("This is no kind of comparison.", action="Choose one of the three.")
    chosen = [left, right, *(comparison.column(str(other)) for other in given.others or ())]
    return [_column(each, given.strength, style) for each in chosen]


def _column(chosen: Column, strength: Any, style: str) -> dict[str, Any]:
    plays = {"run": chosen.run, "checkpoint": chosen.checkpoint, "strength": strength} if chosen.run else {}
    return {**plays, "style": style}


def _words(root: Path, chosen: Column) -> tuple[str, str]:
    """The pair that a run was trained with."""
    view = reading.view(reading.find(root, chosen.run))
    if view.recipe is None or not view.recipe.words:
        raise UsageError("This run was trained without words.", action="Write a style word of your own.")
    pair = view.recipe.words[0]
    return pair.positive, pair.negative


def fields(request: Request) -> Fields:
    """The fields that stand for a request, whoever wrote it."""
    asked = request.comparison
    left, rest = asked.columns[0], asked.columns[1:]
    right = next((c for c in rest if c.run and c.choice != left.choice), rest[0])
    styles = {c.style for c in asked.columns}
    swept = len({c.strength for c in rest}) > 1 and {c.choice for c in rest} == {right.choice}
    preset = WORDS if len(styles) > 1 else SWEEP if swept else SIDES
    others = [_written(c) for c in rest if c is not right] if preset == SIDES else []
    own = "" if preset == WORDS and len(styles) > 2 else max(styles)
    strength = 1.0 if preset == SWEEP else right.strength
    return Fields(
        _written(left), _written(right), others, strength, preset, "\n".join(asked.prompts), own,
        asked.seed, asked.pictures, asked.steps, asked.guidance_scale,
    )  # fmt: skip


def _written(column: Column) -> str:
    return column.choice.replace(" ", "")


def drawn(folder: ComparisonFolder, request: Request) -> Sheet:
    """The pictures of a comparison that are there so far."""
    asked = request.comparison
    rows = []
    for prompt, number in asked.rows:
        cells = [Cell(column, prompt, number) for column in range(len(asked.columns))]
        rows.append(
            Row(
                asked.prompts[prompt],
                f"seed {asked.seed_of(number)}",
                [_there(folder.picture(request, cell)) for cell in cells],
                [_there(folder.clip(request, cell)) for cell in cells],
            )
        )
    strengths = {c.strength for c in asked.columns if c.run}
    strength = f"strength {strengths.pop():g} · " if len(strengths) == 1 else ""
    facts = f"{strength}{asked.steps} steps · guidance {asked.guidance_scale:g}"
    return Sheet(folder.name, [c.label for c in asked.columns], rows, facts, after=_first_as_trained(asked))


def _first_as_trained(asked: Comparison) -> int:
    later = list(enumerate(asked.columns))[1:]
    return next((number for number, c in later if c.run and c.strength == 1), 1)


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


def previews(root: Path, given: Fields) -> Sheet | None:
    """The same sides out of the runs' own previews, when these were made with one seed; nothing is drawn for them."""
    try:
        left, right = (comparison.column(str(side)) for side in (given.left, given.right))
        if not right.run or given.strength != 1 or given.style or given.preset != SIDES or given.others:
            return None
        views = [reading.view(reading.find(root, side.run or right.run)) for side in (left, right)]
    except UsageError:
        return None
    if len({_previewed(view) for view in views}) > 1:
        return None
    updates = [_update(view, side) for view, side in zip(views, (left, right), strict=True)]
    seed = views[1].recipe.training.seed if views[1].recipe else 0
    halves = [
        run_pictures.sheet(view, [update], f"seed {seed} · strength 1 · the run's previews")
        for view, update in zip(views, updates, strict=True)
    ]
    both = [
        replace(row, pictures=[*row.pictures, *other.pictures])
        for row, other in zip(halves[0].rows, halves[1].rows, strict=False)
    ]
    joined = Sheet(f"{left.choice} {right.choice}", [left.choice, right.choice], both, halves[1].facts)
    return joined if joined.laid else None


def _previewed(view: View) -> str:
    """What decides the previews of a run's base; the same for runs whose previews may lie on each other."""
    if view.recipe is None:
        return view.title
    content, listed = view.recipe, tuple(view.prompts)
    sampler = content.validation.model_dump(include={"steps", "guidance_scale", "previews"})
    return repr((content.base, content.training.dtype, content.training.seed, content.lora.start, sampler, listed))


def _update(view: View, chosen: Column) -> int:
    if not chosen.run:
        return 0
    return view.best if chosen.checkpoint is None else chosen.checkpoint
