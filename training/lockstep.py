"""The micro-batches of one update, led side by side, so that together they are one large batch at every turn."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence

import torch
from torch import Tensor

from training.contracts import Event, OptimizerStep, Pool, Report


def in_lockstep(
    micro_batches: Sequence[Iterator[Event]], complete: Callable[[Tensor], Tensor]
) -> Iterator[Report | OptimizerStep]:
    """The reports of all micro-batches, and an OptimizerStep wherever every one of them asks for it.

    complete: values [micro, n, ...] of this process → those of all processes [everything, ...] in the order of samples.
    Raises RuntimeError when micro-batches ask for different things: what a method asks may depend on its settings and
    on the update, never on the samples.
    """
    while True:
        met: list[Pool | OptimizerStep | None] = []
        for events in micro_batches:
            met.append((yield from _until_asked(events)))
        pools = [asked for asked in met if isinstance(asked, Pool)]
        if len({type(asked) for asked in met}) > 1:
            raise RuntimeError("the micro-batches of one update went different ways")
        if pools:
            everyone = complete(torch.stack([pool.values for pool in pools]))
            for pool in pools:
                pool.everyone = everyone
        elif isinstance(met[0], OptimizerStep):
            yield met[0]
        else:
            return


def alone(events: Iterator[Event]) -> Iterator[Report | OptimizerStep]:
    """One micro-batch on one process."""
    return in_lockstep([events], lambda values: values.flatten(0, 1))


def _until_asked(events: Iterator[Event]) -> Generator[Report, None, Pool | OptimizerStep | None]:
    """Hand on the reports up to a question, which is returned; None at the end."""
    for event in events:
        if not isinstance(event, Report):
            return event
        yield event
    return None
