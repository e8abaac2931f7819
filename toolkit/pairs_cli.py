"""The commands for preference pairs, which `toolkit.cli` adds as `palate pairs`. Nothing heavy is imported early."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Preference pairs: make them, check them.")


class Kind(StrEnum):
    """What a data set holds."""

    pairs = "pairs"
    photos = "photos"
    likes = "likes"
    candidates = "candidates"


@app.command()
def build(
    recipe: Annotated[Path, typer.Argument(help="A recipe, or the name of a ready one (see `palate recipes`).")],
    output: Annotated[Path, typer.Option(help="A new folder for the pictures and their pairs.jsonl.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, such as validation.steps=20."),
    ] = None,
    per_prompt: Annotated[int, typer.Option(min=2, help="Pictures drawn of each training prompt.")] = 8,
    prompts: Annotated[int | None, typer.Option(min=1, help="Prompts used (default: all).")] = None,
    least_gap: Annotated[float, typer.Option(min=0, help="Leave out pairs whose scores are closer than this.")] = 0.0,
) -> None:
    """Let the base draw each prompt several times and pair the reward's best with its worst."""
    from toolkit import commands

    commands.build_pairs(
        recipe, set_ or [], output, per_prompt=per_prompt, limit=prompts, least_gap=least_gap
    )  # fmt: skip


@app.command()
def check(
    source: Annotated[Path, typer.Argument(help="A folder, or a .jsonl, .json or .parquet file.")],
    kind: Annotated[Kind, typer.Option(help="What it holds.")] = Kind.pairs,
) -> None:
    """Read a data set as a run would; say what is kept, and what is not and why."""
    from toolkit import commands

    commands.check_data(source, kind.value)
