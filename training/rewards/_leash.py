"""Keeps a command and all its children on a leash: they end when whoever holds the other end of stdin is gone.

    python _leash.py COMMAND...

A process of its own, because one that is killed cannot clean up after itself, and a scorer need not know of us.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def end_family(command: subprocess.Popen[bytes]) -> None:
    """Kill the command, whatever it started, and this process. They write nothing that could be lost."""
    if os.name == "posix":
        os.killpg(0, signal.SIGKILL)  # also those whose own parent has gone
    else:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(command.pid)], capture_output=True, check=False)
        os._exit(0)


def hold(command: list[str]) -> None:
    """Run the command until it ends or stdin closes. Exits with 127 when it cannot be started."""
    if os.name == "posix":
        os.setsid()  # a Ctrl-C meant for the run must not reach the scorer before the run has saved
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as problem:
        print(f"{command[0]}: {problem.strerror}", flush=True)
        sys.exit(127)
    threading.Thread(target=lambda: (child.wait(), end_family(child)), daemon=True).start()
    while os.read(sys.stdin.fileno(), 4096):
        pass
    end_family(child)


if __name__ == "__main__":
    hold(sys.argv[1:])
