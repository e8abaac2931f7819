"""Weights that `palate reward tune` wrote: a dual encoder's own, under its published names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from toolkit.errors import UsageError
from training import blueprint, described, sources


def save(path: Path, network: nn.Module, facts: Mapping[str, Any]) -> None:
    """Write all of `network`'s tensors and, in the header, what one should know of them. Raises OSError."""
    described.save(path, network.state_dict(), "tuned_reward", facts)


def lay_over(network: nn.Module, path: str) -> None:
    """Replace all of `network`'s tensors by those of a file. Raises UsageError when they are another model's."""
    if blueprint.is_weightless():
        return
    file = sources.locate(path)
    weights, own = sources.read_weights(file), network.state_dict()
    if {name: tensor.shape for name, tensor in weights.items()} != {name: tensor.shape for name, tensor in own.items()}:
        raise UsageError(
            f"`{file.name}` holds the weights of another reward.",
            action="Give the file that `palate reward tune` wrote for this one.",
        )
    network.load_state_dict(weights)
