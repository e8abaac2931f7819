"""Some of a batch or a list, in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

ONE_EACH = ("noise_mask", "batch_index")  # of a latent, beside its samples; a mask may also be one for all


def images(batches: Sequence[Tensor], places: Sequence[int]) -> list[Tensor]:
    """The chosen pictures as one batch; as a list of single ones where their sizes differ."""
    return _joined([_singles(batches)[place] for place in places])


def latents(batches: Sequence[Mapping[str, Any]], places: Sequence[int], pictures: int) -> list[dict[str, Any]]:
    """The latents of the chosen pictures, as one batch or as a list. Raises ValueError unless each picture has one."""
    singles = [_part(batch, place) for batch in batches for place in range(len(batch["samples"]))]
    if len(singles) != pictures:
        raise ValueError(f"There are {len(singles)} latents and {pictures} pictures. Connect those they were made of.")
    chosen = [singles[place] for place in places]
    if len({latent["samples"].shape for latent in chosen}) > 1 or len({frozenset(latent) for latent in chosen}) > 1:
        return chosen
    whole = dict(chosen[0])
    for name in ("samples", "noise_mask"):
        if name in whole:
            parts = _joined([latent[name] for latent in chosen])
            if len(parts) > 1:
                return chosen
            whole[name] = parts[0]
    if "batch_index" in whole:
        whole["batch_index"] = [latent["batch_index"][0] for latent in chosen]
    return [whole]


def _part(batch: Mapping[str, Any], place: int) -> dict[str, Any]:
    """One of a latent batch, with what belongs to it."""
    part = {**batch, "samples": batch["samples"][place : place + 1]}
    for name in ONE_EACH:
        if name in batch and len(batch[name]) > 1:
            part[name] = batch[name][place : place + 1]
    return part


def _singles(batches: Sequence[Tensor]) -> list[Tensor]:
    return [batch[place : place + 1] for batch in batches for place in range(len(batch))]


def _joined(singles: Sequence[Tensor]) -> list[Tensor]:
    alike = len({single.shape[1:] for single in singles}) == 1
    return [torch.cat(list(singles))] if alike else list(singles)
