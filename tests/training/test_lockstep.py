"""Micro-batches led side by side."""

from __future__ import annotations

import pytest
import torch

from training.contracts import OptimizerStep, Pool, Report
from training.lockstep import alone, in_lockstep


def micro_batch(told: list, name: int, steps: int = 2, pools: bool = True):
    """Reports its name in its loss, and what it is told by the others in `told`."""
    pool = Pool(torch.tensor([name, -name]))
    if pools:
        yield pool
        told.append(pool.everyone)
    for step in range(steps):
        if step:
            yield OptimizerStep()
        for part in range(name):
            yield Report(torch.tensor(100 * step + 10 * name + part))


def script(events) -> list:
    return [event.loss.item() if isinstance(event, Report) else "step" for event in events]


def test_the_optimizer_steps_once_all_micro_batches_have_come_to_it() -> None:
    events = in_lockstep([micro_batch([], 1), micro_batch([], 2)], lambda values: values.flatten(0, 1))
    assert script(events) == [10, 20, 21, "step", 110, 120, 121]


def test_every_micro_batch_is_told_the_values_of_all() -> None:
    told: list = []
    list(in_lockstep([micro_batch(told, 1), micro_batch(told, 3)], lambda values: values.flatten(0, 1)))
    assert [one.tolist() for one in told] == [[1, -1, 3, -3]] * 2


def test_one_micro_batch_alone_is_told_its_own_values() -> None:
    told: list = []
    assert script(alone(micro_batch(told, 2, steps=1))) == [20, 21]
    assert told[0].tolist() == [2, -2]


@pytest.mark.parametrize("other", [{"steps": 3}, {"pools": False}])
def test_micro_batches_that_go_different_ways_are_an_error(other: dict) -> None:
    with pytest.raises(RuntimeError, match="different ways"):
        list(in_lockstep([micro_batch([], 1), micro_batch([], 1, **other)], lambda values: values.flatten(0, 1)))


def test_a_report_is_used_before_the_next_is_made() -> None:
    """Or two graphs would be in memory at once."""
    made: list[int] = []

    def reports(name: int):
        for part in range(2):
            made.append(10 * name + part)
            yield Report(torch.tensor(10 * name + part))

    for event in in_lockstep([reports(1), reports(2)], lambda values: values):
        assert event.loss.item() == made[-1]
