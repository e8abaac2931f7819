"""`palate`: the command line. Everything heavy happens in a child process, so that --help answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from toolkit import __version__, bench_cli, comfy_cli, lora_cli, pairs_cli, queue_cli, reward_cli
from toolkit.errors import PalateError, UsageError

app = typer.Typer(
    name="palate",
    help="Teach image models your taste: choose words, train an alignment LoRA, look, use it.",
    epilog="Examples:  palate demo  ·  palate train recipes/demo.yaml --set training.updates=50",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Runs = Annotated[
    Path | None, typer.Option("--runs", help="Folder that holds all runs (default: $PALATE_RUNS or ./runs).")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, such as training.updates=50."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only results and problems.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"palate {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    output: Annotated[Path | None, typer.Option(help="A new folder for this run.")] = None,
    set_: Set = None,
    runs: Runs = None,
    export_comfyui: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Only write the embedded model into this ComfyUI's folder.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Align the embedded model with a word pair, then show base against aligned. No downloads, about three minutes."""
    from toolkit import commands

    if export_comfyui:
        commands.export_demo(export_comfyui)
        return
    run = commands.train(commands.ready_recipe("demo"), set_ or [], runs, output, processes=1, quiet=quiet)
    commands.compare(run, judge="demo_judge", quiet=quiet)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, or the name of a ready one (see `palate recipes`).")],
    set_: Set = None,
    output: Annotated[Path | None, typer.Option(help="A new folder for this run.")] = None,
    runs: Runs = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes (one per GPU) on this machine.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the recipe and the command, and stop.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a LoRA from a recipe. Ctrl-C saves and stops; `palate resume` goes on."""
    from toolkit import commands

    commands.train(recipe, set_ or [], runs, output, processes=processes, quiet=quiet, dry_run=dry_run)


@app.command()
def plan(
    recipe: Annotated[Path, typer.Argument(help="A recipe, or the name of a ready one (see `palate recipes`).")],
    set_: Set = None,
    memory: Annotated[
        float | None, typer.Option(min=1, help="GB of the GPU to plan for; without it, this machine's.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes, one per GPU.")] = 1,
    output: Annotated[Path | None, typer.Option(help="Where the run would lie.")] = None,
    table: Annotated[
        bool, typer.Option("--table", help="With and without gradient checkpointing and nf4, on 1, 2 and 8 GPUs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as one JSON object, in bytes.")] = False,
) -> None:
    """What a recipe needs of memory, time and disk, and the settings that make it fit. Downloads no weights."""
    from toolkit import commands

    commands.plan(recipe, set_ or [], memory=memory, processes=processes, output=output, table=table, as_json=as_json)


@app.command()
def doctor(
    online: Annotated[
        bool, typer.Option("--online", help="Also ask whether the bases' licences are accepted.")
    ] = False,
    runs: Runs = None,
    as_json: Annotated[bool, typer.Option("--json", help="All findings as a JSON list.")] = False,
) -> None:
    """What this computer brings to training. Exit code 1 when something prevents it."""
    from toolkit import commands

    if not commands.doctor(runs, online=online, as_json=as_json):
        raise typer.Exit(1)


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    runs: Runs = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes (one per GPU) on this machine.")] = 1,
    quiet: Quiet = False,
) -> None:
    """Go on with a stopped or interrupted run from its last checkpoint, to the same bytes."""
    from toolkit import commands

    commands.resume(run, runs, processes=processes, quiet=quiet)


@app.command()
def sample(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    prompt: Annotated[str, typer.Option(help="What to draw.")],
    output: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("samples"),
    count: Annotated[int, typer.Option(min=1, help="Pictures, each with its own seed.")] = 4,
    strength: Annotated[float, typer.Option(help="How strongly the LoRA plays; 0 is the base.")] = 1.0,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps.")] = 20,
    guide: Annotated[
        Path | None, typer.Option(help="A latent reward (`palate reward train-latent`) that every step follows.")
    ] = None,
    guide_scale: Annotated[float, typer.Option(help="λ of exp(λ R), 10 to 100; negative turns away from it.")] = 30.0,
    runs: Runs = None,
) -> None:
    """Draw pictures with a run's LoRA."""
    from toolkit import commands

    commands.sample(
        run, runs, prompt, output, count=count, strength=strength, steps=steps, guide=guide, guide_scale=guide_scale
    )


@app.command()
def compare(
    run: Annotated[list[str], typer.Argument(help="A run's name or folder; with --prompt also base, RUN@20, RUN*0.5.")],
    prompt: Annotated[list[str] | None, typer.Option(help="Draw this side by side instead; may be repeated.")] = None,
    output: Annotated[Path, typer.Option(help="The sheet of --prompt.")] = Path("compare.png"),
    seed: Annotated[int | None, typer.Option(help="Seed of --prompt; the first run's without it.")] = None,
    judge: Annotated[str, typer.Option(help="A held-out scorer, such as demo_judge.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Pictures per prompt.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps.")] = 20,
    runs: Runs = None,
    quiet: Quiet = False,
) -> None:
    """Measure a run's LoRA against its base on the test prompts, or draw prompts of your own side by side."""
    from toolkit import commands, compare_commands

    if prompt:
        compare_commands.draw(run, prompt, runs, output, seed=seed, pictures=seeds, steps=steps, quiet=quiet)
        return
    if len(run) > 1:
        raise UsageError("One run is measured at a time.", action="Give --prompt to draw several side by side.")
    commands.compare(commands.find(run[0], runs), judge=judge, seeds=seeds, steps=steps, quiet=quiet)


@app.command(name="runs")
def list_runs(runs: Runs = None) -> None:
    """List all runs with their state."""
    from toolkit import commands

    commands.list_runs(runs)


@app.command()
def recipes() -> None:
    """List the ready recipes."""
    from toolkit import commands

    commands.list_recipes()


app.add_typer(lora_cli.app)
app.add_typer(bench_cli.app, name="bench")
app.add_typer(comfy_cli.app, name="comfy")
app.add_typer(pairs_cli.app, name="pairs")
app.add_typer(queue_cli.app, name="queue")
app.add_typer(reward_cli.rewards, name="reward")
app.add_typer(reward_cli.words, name="words")


def main() -> None:
    """The console script: every expected failure is one paragraph on stderr and its exit code."""
    try:
        code = app(standalone_mode=False, prog_name="palate")  # typer returns 130 after a Ctrl-C that nobody caught
    except PalateError as error:
        _complain(error)
        sys.exit(error.exit_code)
    except TyperException as error:
        what = getattr(error, "format_message", error.__str__)()
        if what.startswith("Usage:"):  # called without a command: the help itself
            print(what, file=sys.stderr)
        else:
            _complain(UsageError(what, action="See `palate --help`."))
        sys.exit(2)
    if code == 130:
        _complain(PalateError("Stopped."))
    sys.exit(code or 0)


def _complain(error: PalateError) -> None:
    lines = [f"palate: {error.what}", *(f"  {part}" for part in (error.cause, error.action) if part)]
    print("\n".join(lines), file=sys.stderr)


if __name__ == "__main__":
    main()
