"""A scorer's command, started on a free port of this machine and gone when its owner is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from toolkit import launch

PORT_PLACE = "{port}"
LAST_BYTES = 4000


class ScorerProcess:
    """One running command. Closed, collected or orphaned by a kill: either way its whole family of processes ends."""

    def __init__(self, command: Sequence[str]) -> None:
        """command: a program and its arguments, no shell; `{port}` stands where the port belongs."""
        port = launch.free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._output = tempfile.TemporaryFile("a+b")  # noqa: SIM115  closed with the process
        self._leash = subprocess.Popen(
            [
                sys.executable, "-I", str(Path(__file__).with_name("_leash.py")),
                *(part.replace(PORT_PLACE, str(port)) for part in command),
            ],
            # Palate's own guard against foreign folders; a scorer's script may well import its neighbours.
            env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"},
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.close = weakref.finalize(self, _let_go, self._leash, self._output)

    @property
    def is_alive(self) -> bool:
        """Whether the command still runs."""
        return self._leash.poll() is None

    @property
    def last_words(self) -> str:
        """The last line it printed, empty when it said nothing."""
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - LAST_BYTES))
        lines = self._output.read().decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""


def _let_go(leash: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    if leash.stdin is not None:
        leash.stdin.close()
    leash.wait()
    output.close()
