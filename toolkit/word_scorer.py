"""What is asked about word pairs of one serving child that is kept: how well a reward tells them apart, how their
directions lie to each other, and how pictures lie along one of them.

The child is started at the first question, started again when it died, and ends by itself when idle or when this
process is gone. Answers are remembered by reward, words, base and pictures.
"""

from __future__ import annotations

import atexit
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.errors import PalateError
from toolkit.picture_sets import PictureSet
from toolkit.scorer_child import ScorerChild, command
from toolkit.word_questions import Question
from toolkit.words import WEAK, WordPair

ANSWER_SECONDS = 600.0  # the first answer includes loading the base and the reward
REMEMBERED = 1000
FAILED_SECONDS = 10.0  # for so long a question that failed is not asked again
LEFT_BEHIND_SECONDS = 5.0  # a question that nobody has looked after for so long is not asked any more
Pairs = Sequence[WordPair]


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


class WordScorer:
    """Asks one child at a time, from any thread, and remembers its answers.

    What is called a glance never blocks: None while the answer is on its way, which the first glance starts. It raises
    ScorerError for a question that failed; a glance some seconds later tries again.
    """

    def __init__(self, seconds: float = ANSWER_SECONDS, make_command: Callable[[], list[str]] = command) -> None:
        """seconds: how long one answer may take."""
        self._seconds, self._make_command = seconds, make_command
        self._lock = threading.Lock()
        self._child: ScorerChild | None = None
        self._closed = False
        self._known: OrderedDict[Question, list[Any]] = OrderedDict()
        self._glanced: dict[Question, float] = {}  # when each was last looked after
        self._asked: dict[Question, tuple[PalateError, float] | None] = {}  # None while the answer is on its way
        atexit.register(self.close)

    def known(self, pair: WordPair, *, base: str = "demo", reward: str = "demo") -> Separation | None:
        """The answer if it was given earlier; measures nothing."""
        answer = self._known.get(_separations([pair], base, reward))
        return _separation(answer[0]) if answer else None

    def glance(self, pair: WordPair, *, base: str = "demo", reward: str = "demo") -> Separation | None:
        """How well the reward tells the pair apart on the base's own pictures."""
        answer = self._glance(_separations([pair], base, reward))
        return _separation(answer[0]) if answer else None

    def glance_at_all(self, pairs: Pairs, *, base: str = "demo", reward: str = "demo") -> bool:
        """Whether all of these are known by now; those that are not are asked for in one question."""
        missing = [pair for pair in pairs if self.known(pair, base=base, reward=reward) is None]
        return not missing or self._glance(_separations(missing, base, reward)) is not None

    def cosines(self, pairs: Pairs, *, reward: str = "demo") -> list[list[float]] | None:
        """A glance at how the pairs' directions lie to each other: [P][P] in -1..1."""
        return self._glance(Question(ask="cosines", reward=reward, pairs=_plain(pairs)))

    def margins(self, pair: WordPair, pictures: PictureSet, *, reward: str = "demo") -> list[float | None] | None:
        """A glance at the pictures' scores along the pair; None in the list for one that cannot be read."""
        asked = {"ask": "margins", "reward": reward, "pairs": _plain([pair])}
        return self._glance(Question(**asked, pictures=pictures.names, digest=pictures.digest))

    def separation(self, pair: WordPair, *, base: str = "demo", reward: str = "demo") -> Separation:
        """Measure the pair, or remember it. Blocks; raises ScorerError when there is no answer."""
        return self.separations([pair], base=base, reward=reward)[0]

    def separations(self, pairs: Pairs, *, base: str = "demo", reward: str = "demo") -> list[Separation]:
        """Measure many pairs at once. Blocks; raises ScorerError when there is no answer."""
        with self._lock:
            return [_separation(entry) for entry in self._answer(_separations(pairs, base, reward))]

    def _glance(self, question: Question) -> list[Any] | None:
        if question in self._known:
            return self._known[question]
        self._glanced[question] = time.monotonic()
        if question not in self._asked:
            self._asked[question] = None
            threading.Thread(target=self._answer_aside, args=(question,), daemon=True).start()
        elif (failed := self._asked.get(question)) is not None:
            error, when = failed
            if time.monotonic() - when > FAILED_SECONDS:
                self._asked.pop(question, None)
            raise error
        return None

    def _answer_aside(self, question: Question) -> None:
        try:
            with self._lock:
                if time.monotonic() - self._glanced.get(question, 0.0) < LEFT_BEHIND_SECONDS:
                    self._answer(question)
            self._asked.pop(question, None)
        except PalateError as error:
            self._asked[question] = (error, time.monotonic())
        finally:
            if question not in self._asked:
                self._glanced.pop(question, None)

    def _answer(self, question: Question) -> list[Any]:
        if question in self._known:
            return self._known[question]
        said = self._ask(question.model_dump_json())
        answer = said.get("answer")
        if not isinstance(answer, list):
            raise ScorerError("This could not be measured.", cause=str(said.get("error", "")))
        self._remember(question, answer)
        if question.ask == "separations":
            for pair, entry in zip(question.pairs, answer, strict=True):
                self._remember(question.model_copy(update={"pairs": (pair,)}), [entry])
        return answer

    def _remember(self, question: Question, answer: list[Any]) -> None:
        self._known[question] = answer
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _ask(self, question: str) -> dict[str, Any]:
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
            raise ScorerError("This could not be measured: the scorer ended early.", cause=reason) from None

    def _living_child(self) -> ScorerChild:
        if self._child is not None and not self._child.is_alive:
            self._drop()
        if self._child is None:
            self._child = ScorerChild(self._make_command())
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


def _plain(pairs: Pairs) -> tuple[tuple[str, str], ...]:
    return tuple((pair.positive, pair.negative) for pair in pairs)


def _separations(pairs: Pairs, base: str, reward: str) -> Question:
    return Question(ask="separations", base=base, reward=reward, pairs=_plain(pairs))


def _separation(entry: Sequence[float | None]) -> Separation:
    value, cosine = entry
    if value is None:
        raise ScorerError("This reward gave no number for these words.")
    return Separation(value, cosine)
