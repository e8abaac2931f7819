"""What is learned from pairs, measured on pairs that nothing is learned from: the same, seen alike at every check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from toolkit.pairs import Pair
from training.contracts import Examines, Policy
from training.held_out import held_out

LEAST_PROMPTS = 50  # from so many on, some are held out without being asked for
SHARE, MOST_PROMPTS = 0.1, 32  # … and never more than these: a check should not last longer than its pictures
GLANCES = 4  # levels and noises that each pair is seen at
WATCHED = ("accuracy", "gap_chosen", "gap_rejected")


def split(pairs: Sequence[Pair], share: float | None, *, seed: int) -> tuple[list[Pair], list[Pair]]:
    """(learned, held out), by prompt; share None: a tenth where there are prompts enough, at most 32; else none.

    Raises UsageError where a share is asked for and there is only one prompt.
    """
    if share is None:
        prompts = len({pair.prompt for pair in pairs})
        share = min(SHARE, MOST_PROMPTS / prompts) if prompts >= LEAST_PROMPTS else 0.0
    return held_out(pairs, lambda pair: pair.prompt, seed=seed, share=share) if share else (list(pairs), [])


def batch_size(count: int, most: int) -> int:
    """The largest one that lets every one of `count` pairs be seen equally often."""
    return max(size for size in range(1, most + 1) if count * GLANCES % size == 0)


class Examination:
    """Levels and noises belong to it alone and never change, so that only the LoRA moves its numbers."""

    def __init__(self, method: Examines, policy: Policy, batches: Any, calls: int) -> None:
        """batches: of held-out pairs, under a seed that is not the training's; calls: until all had their glances."""
        self._method, self._policy, self._batches, self._calls = method, policy, batches, calls

    def __call__(self) -> dict[str, float]:
        """Means over all pairs: `held_out_accuracy` (ties count half), and Δ of both sides."""
        seen: dict[str, list[Tensor]] = {name: [] for name in WATCHED}
        for number in range(self._calls):
            metrics = self._method.examine(self._policy, *self._batches.micro_batch(number, 0))
            for name in WATCHED:
                seen[name].append(metrics[name].float())
        return {f"held_out_{name}": float(torch.cat(values).mean()) for name, values in seen.items()}
