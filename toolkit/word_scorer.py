"""How well a reward tells a word pair apart, asked of one `python -m training score --serve` child that is kept.

The child holds the models, so that nobody here has to. It is started at the first question, started again when it
died, and ends by itself when idle or when this process is gone.
"""

from __future__ import annotations

import atexit
import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from toolkit import launch
from toolkit.errors import PalateError
from toolkit.words import WordPair

ANSWER_SECONDS = 180.0  # the first answer includes loading the base and the reward
WEAK = 0.8  # below this AUC a pair gives little direction to learn


class ScorerError(PalateError):
    """The pair could not be measured; it may still be trained."""


@dataclass(frozen=True)
class Separation:
    """AUC in 0..1 (0.5: the reward cannot tell the words apart) and the cosine of the two texts, where known."""

    value: float
    cosine: float | None = None

    @property
    def is_weak(self) -> bool:
        """Whether a run along this pair has little to learn from."""
        return self.value < WEAK

    @property
    def sentence(self) -> str:
        """What the number means."""
        if not self.is_weak:
            return f"This reward tells them apart: {self.value:.2f}."
        return f"This reward hardly tells them apart: {self.value:.2f}. Try words that look more different."


def command(idle_seconds: float = 120.0) -> list[str]:
    """The child's command line."""
    return [sys.executable, "-m", "training", "score", "--serve", "--idle", str(idle_seconds)]


class _Child:
    """One serving process; its answers arrive on a queue, its complaints in a file."""

    def __init__(self, arguments: list[str]) -> None:
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
        for line in output:
            if line.startswith("{"):  # libraries may print whatever they like
                self._answers.put(line)
        self._answers.put("")

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, question: Mapping[str, str], seconds: float) -> dict[str, Any]:
        """The next answer. Raises OSError when the child is gone, queue.Empty when it takes too long."""
        if self._process.stdin is None:
            raise BrokenPipeError
        self._process.stdin.write(json.dumps(question, ensure_ascii=False) + "\n")
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
        self._complaints.seek(0)
        lines = self._complaints.read()[-4000:].decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def end(self) -> None:
        """Ask it to go, and see to it."""
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
        except OSError:
            pass  # it was gone already
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._complaints.close()


class WordScorer:
    """Asks one child at a time, from any thread, and remembers its answers."""

    def __init__(self, seconds: float = ANSWER_SECONDS, make_command: Callable[[], list[str]] = command) -> None:
        """seconds: how long one answer may take."""
        self._seconds, self._make_command = seconds, make_command
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._known: dict[tuple[str, str, str, str], Separation] = {}
        atexit.register(self.close)

    def known(self, pair: WordPair, *, base: str, reward: str) -> Separation | None:
        """An answer given earlier."""
        return self._known.get((base, reward, pair.positive, pair.negative))

    def separation(self, pair: WordPair, *, base: str = "demo", reward: str = "demo") -> Separation:
        """Measure the pair, or remember it. Blocks; raises ScorerError when there is no answer."""
        if (known := self.known(pair, base=base, reward=reward)) is not None:
            return known
        question = {"base": base, "reward": reward, "positive": pair.positive, "negative": pair.negative}
        with self._lock:
            if (known := self.known(pair, base=base, reward=reward)) is not None:
                return known
            answer = self._ask(question)
        if "separation" not in answer:
            raise ScorerError("This pair could not be measured.", cause=str(answer.get("error", "")))
        cosine = answer.get("cosine")
        result = Separation(float(answer["separation"]), cosine if isinstance(cosine, float) else None)
        self._known[(base, reward, pair.positive, pair.negative)] = result
        return result

    def _ask(self, question: Mapping[str, str]) -> dict[str, Any]:
        """One question; a child that died while idle is replaced once."""
        for attempt in (1, 2):
            fresh = self._child is None or not self._child.is_alive
            child = self._living_child()
            try:
                return child.ask(question, self._seconds)
            except queue.Empty:
                self._drop()
                raise ScorerError(
                    f"No measurement after {self._seconds:.0f} seconds.", action="Train anyway, or try again later."
                ) from None
            except (OSError, ValueError):
                reason = child.complaints()
                self._drop()
                if fresh or attempt == 2:
                    raise ScorerError(
                        "This pair could not be measured: the scorer ended early.", cause=reason
                    ) from None
        raise AssertionError("unreachable")

    def _living_child(self) -> _Child:
        if self._child is not None and not self._child.is_alive:
            self._drop()
        if self._child is None:
            self._child = _Child(self._make_command())
        return self._child

    def _drop(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def close(self) -> None:
        """End the child; the next question starts another."""
        with self._lock:
            self._drop()
