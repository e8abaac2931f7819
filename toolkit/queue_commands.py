"""What `palate queue …` does, one function per command; the words it prints, and nothing it decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from toolkit import commands, lanes, recipe, run_folder
from toolkit.commands import out
from toolkit.errors import UsageError
from toolkit.plan import preflight
from toolkit.queue_reconciling import AT_WORK, WAITING
from toolkit.queue_store import Entry, QueueSettings
from toolkit.queue_worker import Worker
from toolkit.run_folder import RunFolder
from toolkit.run_queue import Queue, line

ENDED_SHOWN = 8


def add(source: Path, settings: list[str], runs: Path | None, *, priority: int, gpus: int) -> None:
    """Check everything, make the run's folder, and queue it."""
    queue = _queue(runs)
    content = recipe.read(commands.recipe_file(source), commands.overrides(settings))
    preflight(content, queue.root)
    if gpus > len(here := lanes.discover()):
        raise UsageError(
            f"The run asks for {gpus} GPUs, and this machine has {len(here) if here != (lanes.CPU,) else 'none'}.",
            action="Ask for fewer with --gpus; batches grow with training.gradient_accumulation.",
        )
    run = RunFolder.create(queue.root, content)
    place = queue.add(run.name, priority=priority, gpus=gpus)
    out.print(f"Queued as #{place}: {run.name}", markup=False)
    _say_if_nobody_works(queue)


def list_queue(runs: Path | None) -> None:
    """A table of everything that is at work or waits, and what ended lately."""
    queue = _queue(runs)
    entries = queue.entries()
    if not entries:
        out.print("Nothing is queued. Next: palate queue add recipes/demo.yaml")
        return
    places = {entry.name: f"#{place}" for place, entry in enumerate(line(entries), 1)}
    table = Table("", "run", "state", "update", "priority", "GPUs", "on")
    ended = [entry for entry in entries if entry.state not in (*WAITING, *AT_WORK)]
    for entry in [*(e for e in entries if e not in ended), *ended[:ENDED_SHOWN]]:
        state = RunFolder(queue.root / entry.name).state()
        word = f"{entry.state}, to be {entry.wish}" if entry.wish else entry.state
        on = ", ".join(lanes.shown(lane) for lane in entry.lanes)
        table.add_row(
            places.get(entry.name, ""), entry.name, word, f"{state.update}/{state.updates}", str(entry.priority),
            str(entry.gpus), on,
        )  # fmt: skip
    out.print(table)
    if places:
        _say_if_nobody_works(queue)


def run(runs: Path | None, *, watch: bool, on: Sequence[str] | None) -> None:
    """Work the queue in this terminal."""
    queue = _queue(runs)
    worker = Worker(queue, on or None)
    out.print(f"Working on {', '.join(lanes.shown(lane) for lane in worker.lanes)}. Ctrl-C leaves the runs alone.")
    worker.run(watch=watch, say=lambda entry: _say_started(queue, entry))
    out.print("Nothing is left to start. Next: palate runs")


def _say_started(queue: Queue, entry: Entry) -> None:
    state = RunFolder(queue.root / entry.name).state()
    where = ", ".join(lanes.shown(lane) for lane in entry.lanes)
    said = state.message if state.status == run_folder.FAILED else f"started on {where}"
    out.print(f"{entry.name}: {said}", markup=False)


def pause(name: str, runs: Path | None) -> None:
    """Pause a run."""
    _queue(runs).pause(name)
    out.print(f"Paused: {name}. Next: palate queue resume {name}", markup=False)


def resume(name: str | None, runs: Path | None) -> None:
    """Resume a run, or every paused one."""
    queue = _queue(runs)
    if name:
        place = queue.resume(name)
        out.print(
            f"Queued as #{place}: {name}" if place else f"Queued once its process has ended: {name}", markup=False
        )
    else:
        out.print(f"Back in the line: {queue.resume_all()} runs")
    _say_if_nobody_works(queue)


def cancel(name: str, runs: Path | None) -> None:
    """Cancel a run."""
    _queue(runs).cancel(name)
    out.print(f"Cancelled: {name}. What was saved stays in its folder.", markup=False)


def move(name: str, place: int, runs: Path | None) -> None:
    """Change a run's place."""
    out.print(f"Now #{_queue(runs).move(name, place)}: {name}", markup=False)


def duplicate(name: str, runs: Path | None) -> None:
    """Queue a run's recipe again."""
    queue = _queue(runs)
    out.print(f"Queued: {queue.duplicate(name)}", markup=False)
    _say_if_nobody_works(queue)


def settings(runs: Path | None, *, start_after_restart: bool | None) -> None:
    """Change what is given and print what holds."""
    queue = _queue(runs)
    if start_after_restart is not None:
        queue.set_settings(QueueSettings(start_after_restart=start_after_restart))
    what = "start by themselves" if queue.settings().start_after_restart else "are paused"
    out.print(f"When the Studio is opened again, runs that wait {what}.")


def _queue(runs: Path | None) -> Queue:
    return Queue(runs or run_folder.default_root())


def _say_if_nobody_works(queue: Queue) -> None:
    if not queue.is_worked():
        out.print("Nobody works this queue. Next: palate queue run, or open the Studio")
