"""One `python -m training score --serve` process: it holds the models, so that nobody here has to."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from toolkit import launch


def command(idle_seconds: float = 120.0) -> list[str]:
    """The child's command line."""
    return [sys.executable, "-m", "training", "score", "--serve", "--idle", str(idle_seconds)]


class ScorerChild:
    """One serving process; its answers arrive on a queue, its complaints in a file."""

    def __init__(self, arguments: list[str]) -> None:
        """Start it; it ends by itself when idle or when this process is gone."""
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed with the child
        self._process: subprocess.Popen[str] = subprocess.Popen(
            arguments,
            cwd=Path(tempfile.gettempdir()),
            env=launch.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            encoding="utf-8",
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def _listen(self, output: IO[str]) -> None:
        with output:
            for line in output:
                if line.startswith("{"):  # libraries may print whatever they like
                    self._answers.put(line)
        self._answers.put("")

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def ask(self, question: str, seconds: float) -> dict[str, Any]:
        """The next answer to one line. Raises OSError when the child is gone, queue.Empty when it takes too long."""
        if self._process.stdin is None:
            raise BrokenPipeError
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        while True:
            line = self._answers.get(timeout=seconds)
            if not line:
                raise BrokenPipeError
            answer = json.loads(line)
            if "ready" not in answer:
                return answer

    def complaints(self) -> str:
        """The last line the child wrote about its trouble."""
        if self._complaints.closed:
            return ""
        self._complaints.seek(0)
        lines = self._complaints.read()[-4000:].decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def end(self) -> None:
        """See that it is gone. It writes nothing that could be lost."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # a question that nobody will read
                self._process.stdin.close()
        self._complaints.close()
