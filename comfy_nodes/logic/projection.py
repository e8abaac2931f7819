"""Whether a text encoder's projection was ever loaded: ComfyUI builds one always, and fills it only from a file."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "white": (1, 1, 1),
           "black": (0, 0, 0)}  # fmt: skip
ENOUGH = 4  # of six; blind guessing gets that far in 1 of 100 cases


def is_trained(weight: Tensor) -> bool:
    """Not zeros, not the identity, not memory that nobody wrote to. weight: [D, D]."""
    values = weight.float()
    if not values.isfinite().all() or not 1e-4 < float(values.square().mean().sqrt()) < 10:
        return False
    return not torch.equal(values, torch.eye(len(values), device=values.device))


def told_apart(cosines: Tensor) -> int:
    """How many pictures find their own text. cosines: [N pictures, N texts]; what all share is taken off first."""
    centred = cosines - cosines.mean(0, keepdim=True) - cosines.mean(1, keepdim=True) + cosines.mean()
    return int((centred.argmax(1) == torch.arange(len(centred))).sum())


def verdict(hits: int, names: Sequence[str] = tuple(COLOURS)) -> str:
    """The sentence for the screen, "" when all is well."""
    if hits >= ENOUGH:
        return ""
    return (
        f"Warning: of {len(names)} plain colours this pair knows {hits} by name. Picture and text part may not belong "
        "together, or the CLIP lacks its text projection, as in SD 1.5 checkpoints: do not trust the scores."
    )
