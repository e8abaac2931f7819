"""Clips beside pictures: [B, F, 3, H, W] in time order where a picture is [B, 3, H, W], both in [0, 1].

Rewards see pictures only. What a clip is worth to them is decided here, once, for everybody who scores or measures.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training.contracts import ImageFeatures, Reward


def is_clip(pictures: Tensor) -> bool:
    """Whether these are clips."""
    return pictures.ndim == 5


def frames(pictures: Tensor) -> Tensor:
    """All frames of all clips one after the other, [B · F, 3, H, W]; pictures as they are."""
    return pictures.flatten(0, 1) if is_clip(pictures) else pictures


def posters(pictures: Tensor) -> Tensor:
    """The frame that stands for each clip, its middle one, [B, 3, H, W]; pictures as they are."""
    return pictures[:, pictures.shape[1] // 2] if is_clip(pictures) else pictures


def score(reward: Reward, pictures: Tensor, target: Any) -> Tensor:
    """Scores [B, T] with gradient where the reward has one; a clip's score is the mean over its frames."""
    if not is_clip(pictures):
        return reward.score(pictures, target)
    return torch.stack([reward.score(frame, target) for frame in pictures.unbind(dim=1)]).mean(dim=0)


def embed(scorer: ImageFeatures, pictures: Tensor) -> Tensor:
    """Unit features [B, D]; a clip's point along the mean of its frames'."""
    if not is_clip(pictures):
        return scorer.embed_images(pictures)
    each = [scorer.embed_images(frame) for frame in pictures.unbind(dim=1)]
    return functional.normalize(torch.stack(each).mean(dim=0), dim=-1)
