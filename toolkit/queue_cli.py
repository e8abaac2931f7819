"""The commands of the queue; `toolkit.cli` adds them as `palate queue`. Nothing heavy is imported before one is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Runs that wait for a GPU: order, pause, cancel, resume.",
    epilog="Examples:  palate queue add recipes/demo.yaml  ·  palate queue run",
)
Runs = Annotated[
    Path | None, typer.Option("--runs", help="Folder that holds all runs (default: $PALATE_RUNS or ./runs).")
]
Name = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, as `palate queue list` shows it.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, such as training.updates=50."),
]


@app.command()
def add(
    recipe: Annotated[Path, typer.Argument(help="A recipe, or the name of a ready one (see `palate recipes`).")],
    set_: Set = None,
    priority: Annotated[int, typer.Option(min=-100, max=100, help="Higher goes first.")] = 0,
    gpus: Annotated[int, typer.Option(min=1, max=64, help="GPUs that the run takes, one process each.")] = 1,
    runs: Runs = None,
) -> None:
    """Check a recipe and put it into the line. It starts when the Studio or `palate queue run` works the queue."""
    from toolkit import queue_commands

    queue_commands.add(recipe, set_ or [], runs, priority=priority, gpus=gpus)


@app.command(name="list")
def list_queue(runs: Runs = None) -> None:
    """Who is at work, who waits in which order, and who ended lately."""
    from toolkit import queue_commands

    queue_commands.list_queue(runs)


@app.command()
def run(
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and start what is added later.")] = False,
    lane: Annotated[
        list[str] | None, typer.Option("--lane", help="Use this GPU's id only, or `cpu` (default: all GPUs).")
    ] = None,
    runs: Runs = None,
) -> None:
    """Work the queue until nothing waits. Ctrl-C leaves the runs at work alone."""
    from toolkit import queue_commands

    queue_commands.run(runs, watch=watch, on=lane)


@app.command()
def pause(name: Name, runs: Runs = None) -> None:
    """Keep a waiting run's place without starting it; let one at work save and end."""
    from toolkit import queue_commands

    queue_commands.pause(name, runs)


@app.command()
def resume(
    name: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run's name; without it, every paused one.")
    ] = None,
    runs: Runs = None,
) -> None:
    """Back into the line: a paused run at its old place, an interrupted, failed or cancelled one at the end."""
    from toolkit import queue_commands

    queue_commands.resume(name, runs)


@app.command()
def cancel(name: Name, runs: Runs = None) -> None:
    """Take a run out of the line, or let it save and end. Its folder stays."""
    from toolkit import queue_commands

    queue_commands.cancel(name, runs)


@app.command()
def move(
    name: Name,
    place: Annotated[int, typer.Argument(min=1, help="Its place in the line; 1 is next.")],
    runs: Runs = None,
) -> None:
    """Change the order. The run takes on the priority of its new neighbours."""
    from toolkit import queue_commands

    queue_commands.move(name, place, runs)


@app.command()
def duplicate(name: Name, runs: Runs = None) -> None:
    """Queue another run of the same recipe."""
    from toolkit import queue_commands

    queue_commands.duplicate(name, runs)


@app.command()
def settings(
    start_after_restart: Annotated[
        bool | None,
        typer.Option(
            "--start-after-restart/--pause-after-restart",
            help="Whether waiting runs start by themselves when the Studio is opened again.",
        ),
    ] = None,
    runs: Runs = None,
) -> None:
    """Show or change how this queue behaves."""
    from toolkit import queue_commands

    queue_commands.settings(runs, start_after_restart=start_after_restart)
