"""Signals before and after a run is worth saving."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from training.interrupts import Interrupts


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield request.param
    for each, handler in before.items():
        signal.signal(each, handler)


def test_before_training_it_passes_through_a_library_that_swallows_exceptions(number: int) -> None:
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt), suppress(Exception):
        os.kill(os.getpid(), number)
    assert "before training began" in str(interrupts.error())
    assert interrupts.error().exit_code == 128 + number


def test_one_that_was_swallowed_all_the_same_ends_the_run_before_its_first_update(number: int) -> None:
    interrupts = Interrupts()
    with suppress(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    with pytest.raises(KeyboardInterrupt):
        interrupts.arm()
    assert "before training began" in str(interrupts.error())


def test_in_training_the_first_is_noted_and_the_second_ends_it(number: int) -> None:
    interrupts = Interrupts()
    interrupts.arm()
    assert interrupts.received is None
    os.kill(os.getpid(), number)
    assert interrupts.received == number
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    assert "Stopped at once" in str(interrupts.error())
    assert interrupts.error().exit_code == 128 + number
