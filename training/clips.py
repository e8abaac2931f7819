"""Clips beside pictures: [B, F, 3, H, W] in time order where a picture is [B, 3, H, W], both in [0, 1].

Rewards take both: what a clip is worth is theirs to say. Whoever works on single pictures finds them here.
"""

from __future__ import annotations

from torch import Tensor


def is_clip(pictures: Tensor) -> bool:
    """Whether these are clips."""
    return pictures.ndim == 5


def frames(pictures: Tensor) -> Tensor:
    """All frames of all clips one after the other, [B · F, 3, H, W]; pictures as they are."""
    return pictures.flatten(0, 1) if is_clip(pictures) else pictures


def posters(pictures: Tensor) -> Tensor:
    """The frame that stands for each clip, its middle one, [B, 3, H, W]; pictures as they are."""
    return pictures[:, pictures.shape[1] // 2] if is_clip(pictures) else pictures
