"""The head of ImageReward and of both aesthetic predictors: linear layers without activations between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

WIDTHS = (1024, 128, 64, 16, 1)


class LinearHead(nn.ModuleDict):
    """[B, D] → [B]. Dropouts do nothing to a frozen scorer, so only the numbering of the layers tells of them."""

    def __init__(self, width: int, numbers: Sequence[int]) -> None:
        """width: D; numbers: the places of the linear layers in the published sequence."""
        sizes = zip(numbers, pairwise((width, *WIDTHS)), strict=True)
        super().__init__({str(number): nn.Linear(*size) for number, size in sizes})

    def forward(self, features: Tensor) -> Tensor:
        """[B, D] → [B]."""
        for layer in self.values():
            features = layer(features)
        return features.squeeze(-1)
