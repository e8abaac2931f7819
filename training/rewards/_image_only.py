"""Aesthetic predictors: a picture tower's unit features through a linear head; no text is read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolkit.errors import UsageError
from training import sources
from training.rewards._head import LinearHead
from training.rewards._pictures import Preprocessing
from training.rewards._scorer import Scorer


class ImageOnly(Scorer):
    """The same score whatever the text: of no use to methods that compare words."""

    def __init__(
        self, tower: nn.Module, head: LinearHead, prepare: Preprocessing, dtype: torch.dtype, frames: int
    ) -> None:
        """tower: pixels to features; head: reads them at length one, always in float32."""
        super().__init__(frames)
        self.tower, self.head = tower.to(dtype), head.float()
        self.prepare, self.dtype = prepare, dtype

    def features(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W] normalised → [B, D], not yet of length one."""
        raise NotImplementedError(type(self).__name__)

    def target(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Only how many texts there are: zeros [B, T]."""
        return torch.zeros(len(texts), len(texts[0]))

    def score_pictures(self, images: Tensor, target: Tensor) -> Tensor:
        """[B, T], the same in each column."""
        features = self.features(self.prepare(images).to(self.dtype)).float()
        return self.head(functional.normalize(features, dim=-1))[:, None].expand(-1, target.shape[1])


def load_head(path: str, width: int, *, prefix: str, numbers: Sequence[int], needed: str) -> LinearHead:
    """The head file that the user brings. Raises UsageError, saying which file is `needed`, when there is none."""
    if not path:
        raise UsageError("This scorer has no head: the setting `head` is empty.", action=needed)
    return sources.load(lambda: LinearHead(width, numbers), path, prefix=prefix)
