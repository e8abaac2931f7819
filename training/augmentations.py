"""Small random changes to a picture before a reward sees it, so that no single pixel pattern can please it.

A reward that sees one fixed crop rewards fine patterns tuned to that crop; shifted, scaled, blurred and noised
pictures make such patterns worthless while leaving taste alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training import clips
from training.randomness import Rng

SHIFT, SCALE, BLUR, NOISE = 0.08, 0.12, 0.6, 0.03  # at strength 1: share of the side, share of the size, pixels, range


def augment(images: Tensor, rng: Rng, strength: float) -> Tensor:
    """images [B, 3, H, W] in [0, 1] → the same shape, differentiable; strength 0 returns them as they are.

    A clip [B, F, 3, H, W] is changed as a whole, all its frames alike: what trembles would be seen as motion.
    """
    if strength <= 0:
        return images
    if clips.is_clip(images):
        alike = tuple(index for index in rng.indices for _ in range(images.shape[1]))
        each = Rng(rng.seed, rng.update, alike, rng.device)
        return augment(clips.frames(images), each, strength).unflatten(0, images.shape[:2])
    moved = _move(images, rng, strength)
    blurred = _blur(moved, BLUR * strength * rng.uniform("augment.blur"))
    noise = rng.normal("augment.noise", images.shape[1:])
    return (blurred + NOISE * strength * noise).clamp(0, 1)


def _move(images: Tensor, rng: Rng, strength: float) -> Tensor:
    scale = 1 + SCALE * strength * rng.uniform("augment.scale", -1, 1)
    shift = 2 * SHIFT * strength * rng.uniform("augment.shift", -1, 1, (2,))
    affine = torch.zeros(len(images), 2, 3, device=images.device, dtype=images.dtype)
    affine[:, 0, 0] = affine[:, 1, 1] = scale.to(images.dtype)
    affine[:, :, 2] = shift.to(images.dtype)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """A 5 x 5 Gaussian of `sigma` [B] pixels, one kernel per picture."""
    offsets = torch.arange(-2, 3, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma.to(images.dtype).clamp(min=0.05)[:, None] ** 2))
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    batch, channels, height, width = images.shape
    planes = functional.pad(images, (2, 2, 2, 2), mode="replicate").reshape(1, batch * channels, height + 4, width + 4)
    taps = kernel.repeat_interleave(channels, dim=0)
    rows = functional.conv2d(planes, taps[:, None, None, :], groups=batch * channels)
    columns = functional.conv2d(rows, taps[:, None, :, None], groups=batch * channels)
    return columns.reshape(batch, channels, height, width)
