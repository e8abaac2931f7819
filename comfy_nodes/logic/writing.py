"""Pictures and clips into files, with the numbers that core's Save Image writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor


def picture(frames: Tensor, about: Mapping[str, str], path: Path) -> None:
    """[1, H, W, 3 or 4] in [0, 1] as PNG; about: texts that go into it."""
    info = PngInfo()
    for name, text in about.items():
        info.add_text(name, text)
    _images(frames)[0].save(path, pnginfo=info, compress_level=4)


def clip(frames: Tensor, fps: float, path: Path) -> None:
    """[F, H, W, 3 or 4] in [0, 1] as an animated WebP, lossless; equal neighbours become one longer frame."""
    first, *others = _images(frames)
    first.save(path, save_all=True, append_images=others, duration=round(1000 / fps), loop=0, lossless=True, method=1)


def _images(frames: Tensor) -> list[Image.Image]:
    return [Image.fromarray(each) for each in np.clip(255.0 * frames.cpu().numpy(), 0, 255).astype(np.uint8)]
