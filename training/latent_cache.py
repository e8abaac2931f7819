"""Pictures are encoded once: kept in memory for small bases, on disk for those that say who they are.

On disk they are found by their own bytes, so that a renamed or moved picture is not encoded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from toolkit import pairs
from toolkit.errors import UsageError
from toolkit.pairs import Picture
from training.contracts import Base
from training.kept_tensors import KeptTensors


class LatentCache:
    """Latents of pictures or clips, cut to the base's size around their middle."""

    def __init__(self, base: Base, *, folder: Path | None = None, device: torch.device | None = None) -> None:
        """folder: of this base alone; device: where batches are wanted, and where the base is."""
        self._base, self._device = base, device or torch.device("cpu")
        self._kept = KeptTensors(folder)

    def __call__(self, pictures: Sequence[Picture]) -> Tensor:
        """Latents [B, *latent_shape] in float32 on the device."""
        return torch.cat([self._latents(picture) for picture in pictures]).to(self._device)

    def prepare(self, pictures: Iterable[Picture]) -> None:
        """Encode all that is not known yet."""
        for picture in pictures:
            self._latents(picture)

    def _latents(self, picture: Picture) -> Tensor:
        return self._kept(picture.digest[:40], lambda: {"latents": self._encode(picture)})["latents"]

    def _encode(self, picture: Picture) -> Tensor:
        pixels = fitted(picture, self._base.lora_facts.resolution, self._base.frames)
        return self._base.encode_images(pixels[None].to(self._device)).float().cpu()


def fitted(picture: Picture, size: tuple[int, int], frames: int = 0) -> Tensor:
    """[3, H, W] in [0, 1], or the first `frames` of a clip [F, 3, H, W]; size: width, height.

    Raises UsageError for a clip that is too short.
    """
    shown = pairs.frames(picture)
    if len(shown) < frames:
        raise UsageError(
            f"`{picture.path.name}` has {len(shown)} frames, and the base makes clips of {frames}.",
            action="Take it out of the data, or set `base.frames` lower.",
        )
    cut = [to_tensor(ImageOps.fit(frame, size, Image.Resampling.LANCZOS)) for frame in shown[: frames or 1]]
    return torch.stack(cut) if frames else cut[0]


@lru_cache(maxsize=4096)  # a mask is read once, not in every epoch
def focus(mask: Picture, grid: tuple[int, int]) -> Tensor:
    """What each place of a latent counts, [h, w] of mean 1: M / mean(M), M the mask's mean over the place, white 1.

    The mask is cut around its middle as its pictures are. All zero where that leaves nothing of its white.
    """
    rows, columns = grid
    levels = pairs.frames(mask)[0].convert("L").convert("F")  # floats: no place is rounded to black
    cut = ImageOps.fit(levels, (columns, rows), Image.Resampling.BOX)
    share = to_tensor(cut)[0] / 255
    return share / share.mean().clamp(min=torch.finfo(share.dtype).tiny)


def whole(picture: Picture) -> Tensor:
    """[3, H, W] in [0, 1], or all frames of a clip [F, 3, H, W]: as it is."""
    shown = [to_tensor(frame) for frame in pairs.frames(picture)]
    return torch.stack(shown) if len(shown) > 1 else shown[0]
