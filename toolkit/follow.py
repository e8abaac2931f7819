"""Watching a run from a terminal: reads the run folder as anybody else does, and draws one progress line."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from toolkit import launch
from toolkit.errors import PalateError
from toolkit.event_reader import EventReader, unseen
from toolkit.run_folder import RunFolder

POLL_SECONDS = 0.2


def follow(run: RunFolder, start: Callable[[], subprocess.Popen[bytes]], *, quiet: bool) -> None:
    """Start the run and show it until its process ends; Ctrl-C and SIGTERM are passed on to it, which saves.

    Raises PalateError with the run's own sentence and exit code when it did not end well.
    """
    console = Console(stderr=True, quiet=quiet)
    with _passing_signals_to(run) as asked, _display(console) as show:
        child = start()
        for number in asked:  # before there was a process
            launch.send(run, number)
        reader, seen = EventReader(run.events_file), ()
        while True:
            ended = child.poll() is not None
            events = reader.read()
            for event in unseen(seen, events):
                show(event)
            seen = events
            if ended:
                break
            time.sleep(POLL_SECONDS)
    if child.returncode != 0:
        raise _failure(run, child.returncode, asked)


@contextlib.contextmanager
def _display(console: Console) -> Iterator[Callable[[dict[str, Any]], None]]:
    if not console.is_terminal:
        yield lambda event: _plain_line(console, event)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=False) as progress:
        task = progress.add_task("loading", total=None, facts="")

        def show(event: dict[str, Any]) -> None:
            if event["kind"] == "start":
                progress.update(task, total=event["updates"], completed=event["update"], description="training")
            elif event["kind"] == "update":
                progress.update(task, completed=event["update"], facts=f"loss {event['metrics']['loss']:+.3f}")
            elif event["kind"] == "check":
                progress.console.print(check_line(event))

        yield show


def _plain_line(console: Console, event: dict[str, Any]) -> None:
    if event["kind"] == "check":
        console.print(check_line(event))
    elif event["kind"] == "update" and event["update"] % 10 == 0:
        console.print(f"update {event['update']}  loss {event['metrics']['loss']:+.3f}  {event['seconds']:.2f} s")


def check_line(event: dict[str, Any]) -> str:
    """One line for a check: the two rewards, held-out pairs if any, and every guard that is not at rest."""
    values = event["values"]
    shown = [
        f"{name} {values[key]:+.3f}" for name, key in (("reward", "reward"), ("second", "second")) if key in values
    ]
    if (right := values.get("held_out_accuracy")) is not None:
        shown.append(f"held-out pairs {right:.0%}")
    worries = [light["sentence"] for light in event["guards"].values() if light["state"] != "ok"]
    worries += event.get("alarms", [])
    return f"check at {event['update']:>4}:  {'  '.join(shown)}  {' '.join(worries) or 'all guards ok'}"


@contextlib.contextmanager
def _passing_signals_to(run: RunFolder) -> Iterator[list[int]]:
    """To the process that trains, which on several is the first of them. Yields what was asked so far."""
    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        launch.send(run, number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failure(run: RunFolder, returncode: int, asked: list[int]) -> PalateError:
    state = run.state()
    code = state.exit_code or (128 - returncode if returncode < 0 else returncode)
    if asked and not state.exit_code:  # it ended while Python itself was still starting
        code = 128 + asked[0]
    said = state.exit_code or code in (130, 143)
    error = PalateError(state.message if said else _unsaid(run, code), action=f"Details: {run.log_file}")
    error.exit_code = code
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    return error


def _unsaid(run: RunFolder, code: int) -> str:
    """For a process that could not explain itself: what its exit code means, or the last thing it printed."""
    if code == 137:
        return "The system ended the training process, usually because memory ran out. The last checkpoint is intact."
    lines = run.log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = f" Its last words: {lines[-1]}" if lines else ""
    return f"The training process ended unexpectedly (exit code {code}).{last}"
