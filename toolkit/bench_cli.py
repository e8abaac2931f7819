"""The bench, which `toolkit.cli` adds as `palate bench`. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Compare methods at equal budgets on the demo world.")


@app.callback()
def _root() -> None:
    pass


@app.command()
def methods(
    output: Annotated[Path, typer.Option(help="A folder for all runs; the same one goes on where it stopped.")],
    page: Annotated[
        Path | None, typer.Option(help="A folder for the table, the plots and the JSON (default: OUTPUT/page).")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Runs at the same time, one thread each.")] = 2,
) -> None:
    """Every method at the same budget, each with its own small sweep, at several seeds: hours on a CPU."""
    from toolkit.bench import commands

    commands.methods(output, page or output / "page", workers=workers)
