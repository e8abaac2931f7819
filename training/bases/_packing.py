"""Packed latents: families of FLUX's kind hand 2 x 2 latents to the transformer as one token. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

PATCH = 2


def pack(latents: Tensor) -> Tensor:
    """[B, C, h, w] → tokens [B, h/2 · w/2, 4 C], channel-major inside a token."""
    batch, channels, height, width = latents.shape
    blocks = latents.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * PATCH * PATCH)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Inverse of `pack`; rows and columns count tokens."""
    batch, _, size = tokens.shape
    blocks = tokens.reshape(batch, rows, columns, size // PATCH**2, PATCH, PATCH)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(batch, size // PATCH**2, rows * PATCH, columns * PATCH)


def image_ids(rows: int, columns: int, device: torch.device) -> Tensor:
    """Rope positions (0, row, column) of the image tokens, [rows · columns, 3]."""
    grid = torch.zeros(rows, columns, 3, device=device)
    grid[..., 1] = torch.arange(rows, device=device)[:, None]
    grid[..., 2] = torch.arange(columns, device=device)[None, :]
    return grid.reshape(-1, 3)
