"""What a scorer sees: checked pictures, evenly spaced frames, and the published preprocessing as a tensor operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)


def check_images(images: Tensor) -> None:
    """Raise ValueError unless images are [B, 3, H, W] or [B, F, 3, H, W] floats in [0, 1].

    NaN passes: the trainer names it.
    """
    if images.ndim not in (4, 5) or images.shape[-3] != 3 or not images.is_floating_point():
        raise ValueError(
            f"a reward wants float pictures [B, 3, H, W] or videos [B, F, 3, H, W], "
            f"got {images.dtype} {tuple(images.shape)}"
        )
    low, high = images.detach().aminmax()
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(f"a reward wants pictures in [0, 1], got [{low:.3g}, {high:.3g}]")


def uniform_frames(videos: Tensor, count: int) -> Tensor:
    """[B, F, 3, H, W] → [B, n, 3, H, W], n = min(F, count): the middles of n equal stretches of time."""
    total = videos.shape[1]
    wanted = min(total, count)
    return videos[:, [(2 * i + 1) * total // (2 * wanted) for i in range(wanted)]]


@dataclass(frozen=True)
class Preprocessing:
    """To a normalised square. Differentiable; antialiased, else large pictures score far from the published pipelines.

    crop: shortest side to `size`, centre crop (CLIP). pad: longest side to `size`, zeros around it before normalising
    (HPSv2's `ResizeMaxSize`). stretch: both sides to `size` (SigLIP).
    """

    size: int
    mean: Sequence[float] = CLIP_MEAN
    std: Sequence[float] = CLIP_STD
    geometry: Literal["crop", "pad", "stretch"] = "crop"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"

    def __call__(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1], any float dtype → [B, 3, size, size] float32."""
        return transforms.normalize(self._square(images.float()), list(self.mean), list(self.std))

    def _square(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if (height, width) == (self.size, self.size):
            return images
        if self.geometry == "stretch":
            return self._resize(images, [self.size, self.size])
        if self.geometry == "crop":
            return transforms.center_crop(self._resize(images, [self.size]), [self.size, self.size])
        ratio = self.size / max(height, width)
        rows, columns = max(1, round(height * ratio)), max(1, round(width * ratio))
        left, top = (self.size - columns) // 2, (self.size - rows) // 2
        around = [left, top, self.size - columns - left, self.size - rows - top]
        return transforms.pad(self._resize(images, [rows, columns]), around, fill=0.0)

    def _resize(self, images: Tensor, size: list[int]) -> Tensor:
        resized = transforms.resize(images, size, transforms.InterpolationMode(self.interpolation), antialias=True)
        return clamp_straight_through(resized)


def clamp_straight_through(images: Tensor) -> Tensor:
    """Into [0, 1] as 8-bit pipelines do after bicubic's overshoot, but saturated pixels keep their gradient."""
    return images + (images.clamp(0, 1) - images).detach() if images.requires_grad else torch.clamp(images, 0, 1)
