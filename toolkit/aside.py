"""Answers to slow questions, worked out beside the page: asking never blocks, and one is at work at a time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from toolkit.errors import PalateError

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")
REMEMBERED = 64
RETRY_SECONDS = 60.0  # how long a failure is told before the question is put again


class Aside(Generic[Key, Answer]):
    """Remembers answers by their question. Of the questions that wait, only the latest is answered next."""

    def __init__(self, work: Callable[[Key], Answer]) -> None:
        """work: what answers one question; its PalateErrors are answers too."""
        self._work, self._lock = work, threading.Lock()
        self._answers: OrderedDict[Key, tuple[Answer | PalateError, float]] = OrderedDict()
        self._next: list[Key] = []
        self._is_running = False

    def known(self, key: Key) -> Answer | PalateError | None:
        """The answer, if there is one."""
        with self._lock:
            found = self._answers.get(key)
            if found and isinstance(found[0], PalateError) and time.monotonic() - found[1] > RETRY_SECONDS:
                del self._answers[key]
                return None
            return found[0] if found else None

    def glance(self, key: Key) -> Answer | PalateError | None:
        """The answer; None while it is being worked out, which the first glance begins."""
        if (answer := self.known(key)) is not None:
            return answer
        with self._lock:
            self._next = [key]
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, daemon=True, name="aside").start()
        return None

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._next:
                    self._is_running = False
                    return
                key = self._next.pop()
                if key in self._answers:
                    continue
            try:
                answer: Answer | PalateError = self._work(key)
            except PalateError as error:
                answer = error
            except OSError as error:
                answer = PalateError(f"That could not be worked out: {error.strerror or error}.")
            with self._lock:
                self._answers[key] = (answer, time.monotonic())
                while len(self._answers) > REMEMBERED:
                    self._answers.popitem(last=False)
