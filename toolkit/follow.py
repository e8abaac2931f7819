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

from toolkit.errors import PalateError
from toolkit.run_folder import RunFolder

POLL_SECONDS = 0.2
SAID_AS_IT_IS = (1, 2, 130, 143)  # exit codes whose sentence stands in state.json


def follow(run: RunFolder, child: subprocess.Popen[bytes], *, quiet: bool) -> None:
    """Show the run until its process ends; Ctrl-C and SIGTERM are passed on to it, which saves.

    Raises PalateError with the run's own sentence and exit code when it did not end well.
    """
    console = Console(stderr=True, quiet=quiet)
    with _passing_signals_to(child), _display(console) as show:
        offset = 0
        while True:
            ended = child.poll() is not None
            events, offset = run.new_events(offset)
            for event in events:
                show(event)
            if ended:
                break
            time.sleep(POLL_SECONDS)
    if child.returncode != 0:
        raise _failure(run, child.returncode)


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
    """One line for a check: the two rewards, and every guard that is not at rest."""
    values = event["values"]
    shown = [
        f"{name} {values[key]:+.3f}" for name, key in (("reward", "reward"), ("second", "second")) if key in values
    ]
    worries = [light["sentence"] for light in event["guards"].values() if light["state"] != "ok"]
    return f"check at {event['update']:>4}:  {'  '.join(shown)}  {' '.join(worries) or 'all guards ok'}"


@contextlib.contextmanager
def _passing_signals_to(child: subprocess.Popen[bytes]) -> Iterator[None]:
    def pass_on(number: int, frame: FrameType | None) -> None:
        if child.poll() is None:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failure(run: RunFolder, returncode: int) -> PalateError:
    code = 128 - returncode if returncode < 0 else returncode
    message = run.state().message
    if code not in SAID_AS_IT_IS or not message:
        message = _by_signal(code) or f"The training process ended unexpectedly (exit code {code})."
    error = PalateError(message, action=f"Details: {run.log_file}")
    error.exit_code = code
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    return error


def _by_signal(code: int) -> str:
    if code == 137:
        return "The system ended the training process, usually because memory ran out. The last checkpoint is intact."
    return ""
