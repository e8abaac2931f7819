"""Packed latents: families of FLUX's kind hand 2 x 2 latents to the transformer as one token. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

PATCH = 2


def pack(latents: Tensor) -> Tensor:
    """[B, C, h, w] → tokens [B, h/2 · w/2, 4 C], channel-major inside a token."""
    return as_tokens(pixel_unshuffle(latents, PATCH))


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Inverse of `pack`; rows and columns count tokens."""
    return pixel_shuffle(as_latents(tokens, rows, columns), PATCH)


def as_tokens(latents: Tensor) -> Tensor:
    """[B, C, h, w] → tokens [B, h · w, C]."""
    return latents.flatten(2).transpose(1, 2)


def as_latents(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Inverse of `as_tokens`."""
    return tokens.transpose(1, 2).unflatten(2, (rows, columns))


def image_ids(rows: int, columns: int, device: torch.device) -> Tensor:
    """Rope positions (0, row, column) of the image tokens, [rows · columns, 3]."""
    grid = torch.zeros(rows, columns, 3, device=device)
    grid[..., 1] = torch.arange(rows, device=device)[:, None]
    grid[..., 2] = torch.arange(columns, device=device)[None, :]
    return grid.reshape(-1, 3)
