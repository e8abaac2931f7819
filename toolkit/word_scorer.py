"""How well a reward tells a word pair apart, asked of one `python -m training score --serve` child that is kept.

The child holds the models, so that nobody here has to. It is started at the first question, started again when it
died, and ends by itself when idle or when this process is gone.
"""

from __future__ import annotations

import atexit
import contextlib
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

ANSWER_SECONDS = 600.0  # the first answer includes loading the base and the reward
WEAK = 0.8  # below this AUC a pair gives little direction to learn


Key = tuple[str, str, str, str]  # base, reward, positive, negative


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
        with output:
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


class WordScorer:
    """Asks one child at a time, from any thread, and remembers its answers."""

    def __init__(self, seconds: float = ANSWER_SECONDS, make_command: Callable[[], list[str]] = command) -> None:
        """seconds: how long one answer may take."""
        self._seconds, self._make_command = seconds, make_command
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closed = False
        self._known: dict[Key, Separation] = {}
        self._wanted: Key | None = None  # what was glanced at last: a pair left behind is not measured
        self._asked: dict[Key, PalateError | None] = {}  # None while the answer is on its way
        atexit.register(self.close)

    def known(self, pair: WordPair, *, base: str = "demo", reward: str = "demo") -> Separation | None:
        """The answer if it was given earlier; measures nothing."""
        return self._known.get((base, reward, pair.positive, pair.negative))

    def glance(self, pair: WordPair, *, base: str = "demo", reward: str = "demo") -> Separation | None:
        """The answer if there is one; None while it is being measured, which the first glance starts.

        Never blocks. Raises ScorerError once for a measurement that failed; the next glance tries again.
        """
        key = self._wanted = (base, reward, pair.positive, pair.negative)
        if key in self._known:
            return self._known[key]
        if key not in self._asked:
            self._asked[key] = None
            threading.Thread(target=self._measure_aside, args=(pair, key), daemon=True).start()
        elif (error := self._asked[key]) is not None:
            del self._asked[key]
            raise error
        return None

    def _measure_aside(self, pair: WordPair, key: Key) -> None:
        try:
            with self._lock:
                if key == self._wanted:
                    self._measure(pair, key)
            self._asked.pop(key, None)
        except PalateError as error:
            self._asked[key] = error

    def separation(self, pair: WordPair, *, base: str = "demo", reward: str = "demo") -> Separation:
        """Measure the pair, or remember it. Blocks; raises ScorerError when there is no answer."""
        with self._lock:
            return self._measure(pair, (base, reward, pair.positive, pair.negative))

    def _measure(self, pair: WordPair, key: Key) -> Separation:
        if key in self._known:
            return self._known[key]
        asked = {"base": key[0], "reward": key[1], "positive": pair.positive, "negative": pair.negative}
        answer = self._ask(asked)
        if not isinstance(answer.get("separation"), float):
            raise ScorerError("This pair could not be measured.", cause=str(answer.get("error", "")))
        cosine = answer.get("cosine")
        self._known[key] = Separation(answer["separation"], cosine if isinstance(cosine, float) else None)
        return self._known[key]

    def _ask(self, question: Mapping[str, str]) -> dict[str, Any]:
        """One question; a child that died while nobody asked is replaced once."""
        if self._closed:
            raise ScorerError("The scorer has been closed.")
        was_waiting = self._child is not None
        try:
            return self._living_child().ask(question, self._seconds)
        except queue.Empty:
            self._drop()
            raise ScorerError(
                f"No measurement after {self._seconds:.0f} seconds.", action="Train anyway, or try again later."
            ) from None
        except (OSError, ValueError):
            reason = self._child.complaints() if self._child is not None else ""
            self._drop()
            if was_waiting and not self._closed:
                return self._ask(question)
            raise ScorerError("This pair could not be measured: the scorer ended early.", cause=reason) from None

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
        """End the child now, also in the middle of an answer; nothing is asked any more."""
        self._closed = True
        if self._child is not None:
            self._child.end()
