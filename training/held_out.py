"""A part of a data set that learning never sees, so that what was learned can be measured. A function of the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from toolkit.errors import UsageError
from training.randomness import key

SHARE = 0.2
Item = TypeVar("Item")


def held_out(
    items: Sequence[Item], group: Callable[[Item], str], *, seed: int, share: float = SHARE
) -> tuple[list[Item], list[Item]]:
    """(learned, held out): whole groups go to either side, such as all pictures of a prompt.

    Raises UsageError when there is only one group, of which nothing could be held out.
    """
    names = sorted({group(item) for item in items}, key=lambda name: key(seed, "held out", name))
    if len(names) < 2:
        raise UsageError(
            f"All {len(items)} entries have the same prompt, so none can be kept back to measure what was learned.",
            action="Add entries with other prompts.",
        )
    kept_back = set(names[: max(1, round(share * len(names)))])
    return [i for i in items if group(i) not in kept_back], [i for i in items if group(i) in kept_back]
