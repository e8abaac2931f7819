"""A picture as a scorer sees it: Palate's own resizing, so that a score here is the score of training."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

GEOMETRIES = ("pad", "crop", "stretch")


def square(image: Tensor, size: int, geometry: str) -> Tensor:
    """[1, H, W, C>=3] → [1, size, size, 3] in [0, 1]; a picture of that size already comes back as it is.

    crop: shortest side to `size`, centre crop (CLIP). pad: longest side to `size`, black around it (HPSv2.1).
    stretch: both sides to `size`. Bicubic and antialiased, without which large pictures score otherwise.
    """
    pixels = image[..., :3].movedim(-1, 1).float().clamp(0, 1)
    height, width = pixels.shape[-2:]
    if (height, width) == (size, size):
        return pixels.movedim(1, -1)
    if geometry == "stretch":
        return _resized(pixels, size, size).movedim(1, -1)
    if geometry == "crop":
        short = min(height, width)
        pixels = _resized(pixels, int(size * height / short), int(size * width / short))
        top, left = (round((side - size) / 2) for side in pixels.shape[-2:])
        return pixels[..., top : top + size, left : left + size].movedim(1, -1)
    ratio = size / max(height, width)
    rows, columns = max(1, round(height * ratio)), max(1, round(width * ratio))
    left, top = (size - columns) // 2, (size - rows) // 2
    around = (left, size - columns - left, top, size - rows - top)
    return functional.pad(_resized(pixels, rows, columns), around).movedim(1, -1)


def _resized(pixels: Tensor, rows: int, columns: int) -> Tensor:
    """[1, 3, H, W] → [1, 3, rows, columns]; bicubic's overshoot is cut off, as 8-bit pipelines do."""
    return functional.interpolate(pixels, (rows, columns), mode="bicubic", antialias=True).clamp(0, 1)
