"""Questions answered beside the page: nobody waits, the latest of those that wait is next, failures are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from toolkit import aside
from toolkit.aside import Aside
from toolkit.errors import PalateError, UsageError


def until(asked: Callable[[], object | None]) -> object:
    deadline = time.monotonic() + 30
    while (answer := asked()) is None:
        assert time.monotonic() < deadline, "no answer came"
        time.sleep(0.002)
    return answer


def test_an_answer_is_worked_out_once_and_remembered() -> None:
    asked: list[int] = []
    squares = Aside(lambda key: asked.append(key) or key * key)
    assert squares.known(7) is None
    assert until(lambda: squares.glance(7)) == 49
    assert (squares.glance(7), asked) == (49, [7])


def test_of_those_that_wait_only_the_latest_is_answered_next() -> None:
    gate, begun, asked = threading.Event(), threading.Event(), []

    def work(key: str) -> str:
        asked.append(key)
        begun.set()
        assert gate.wait(30)
        return key.upper()

    texts = Aside(work)
    assert texts.glance("first") is None
    assert begun.wait(30)
    for key in ("given up", "wanted"):
        assert texts.glance(key) is None  # at once, although the first is still at work
    gate.set()
    assert until(lambda: texts.known("wanted")) == "WANTED"
    assert asked == ["first", "wanted"]


@pytest.mark.parametrize("error", [UsageError("It cannot be."), OSError(5, "broken disk")])
def test_a_failure_is_an_answer_until_it_is_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(key: int) -> int:
        raise error

    failing = Aside(work)
    assert isinstance(until(lambda: failing.glance(1)), PalateError)
    monkeypatch.setattr(aside, "RETRY_SECONDS", -1.0)
    assert failing.known(1) is None
