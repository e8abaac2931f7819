"""Starting the backend: a process of its own that outlives whoever started it."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import psutil

from toolkit.errors import UsageError
from toolkit.run_folder import QUEUED, RunFolder

# Windows' word for a session of its own; these names exist only there.
DETACHED = sum(getattr(subprocess, flag, 0) for flag in ("CREATE_NEW_PROCESS_GROUP", "DETACHED_PROCESS"))


def command(run: RunFolder, *, processes: int = 1) -> list[str]:
    """The command that trains this run, to be shown and run as it is."""
    train = ["-m", "training", "train", str(run.path)]
    if processes == 1:
        return [sys.executable, *train]
    # Not `accelerate launch`, which quietly starts a single process where there is no GPU.
    return [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes),
        "--master-addr", "127.0.0.1", "--master-port", str(free_port()), *train,
    ]  # fmt: skip


def shown(arguments: list[str]) -> str:
    """A command as one would type it."""
    return shlex.join(arguments)


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The child's environment: a `training/` folder in the user's working directory must not shadow ours.

    env: variables of this child alone.
    """
    ours = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **ours, **(env or {})}


def start(run: RunFolder, *, processes: int = 1, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start training in a session of its own, printing into the run's log. Returns at once.

    env: environment variables of this run alone. Raises UsageError when the run is already being trained or its folder
    cannot be written.
    """
    state = run.state()
    if state.is_active and state.pid:
        raise UsageError(f"`{run.name}` is already running (process {state.pid}).", action="Stop it first.")
    try:
        run.stop_file.unlink(missing_ok=True)
        run.take_wishes()
        run.write_state(QUEUED, message="", exit_code=0, pid=0)
        log = run.log_file.open("ab")
    except OSError as error:
        raise UsageError(
            f"The run cannot be written to `{run.path}`: {error.strerror or error}.",
            action="Make the folder writable, or copy it to a disk that is.",
        ) from error
    with log:
        child = detached(command(run, processes=processes), cwd=run.path, log=log, env=env)
    run.write_state(QUEUED, pid=child.pid, pid_started=psutil.Process(child.pid).create_time())
    return child


def detached(
    arguments: list[str], *, cwd: Path, log: IO[bytes], env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A process that outlives its parent's terminal or page, printing into `log`; env: of this child alone."""
    return subprocess.Popen(
        arguments,
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        creationflags=DETACHED,
    )


def send(run: RunFolder, signal_number: int = signal.SIGTERM) -> bool:
    """Signal the process that trains this run. False when there is none."""
    state = run.state()
    if not (state.is_active and state.pid):
        return False
    try:
        psutil.Process(state.pid).send_signal(signal_number)
    except psutil.NoSuchProcess:  # it ended just now
        return False
    return True


def find(run: RunFolder) -> psutil.Process | None:
    """The process that trains this run, by its command line: also one whose starter died before noting its id."""
    wanted = ["-m", "training", "train", str(run.path)]
    found = [
        process
        for process in psutil.process_iter(["cmdline", "create_time", "status"])
        if (process.info["cmdline"] or [])[-len(wanted) :] == wanted and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
    return min(found, key=lambda process: process.info["create_time"], default=None)  # of several, the one above them


def free_port() -> int:
    """A free TCP port on loopback, so that two runs on one machine never meet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def backend(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """A short backend command (`sample`, `compare`, `score`, `describe`) with its output on pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "training", *arguments],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
