"""The clipped surrogate of a policy gradient (PPO, arXiv:1707.06347), and what shows whether it is well."""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_loss(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """max(-A ratio, -A clip(ratio, 1 ± clip_range)), [B]: no reason to move a sample further than that."""
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip_range, 1 + clip_range))


def diagnostics(ratio: Tensor, log_ratio: Tensor, advantages: Tensor, clip_range: float) -> dict[str, Tensor]:
    """Where clipping stops the gradient, on which side, and how many samples' worth of weight is left.

    log_ratio: summed over the elements, whose weights tell how far the samples' policy is from the one that learns.
    """
    above = ((ratio > 1 + clip_range) & (advantages > 0)).float()
    below = ((ratio < 1 - clip_range) & (advantages < 0)).float()
    one_sided = (above.mean() - below.mean()).abs()
    weights = log_ratio.softmax(dim=0)
    return {
        "clipped_above": above, "clipped_below": below, "clipped_one_sided": one_sided,
        "effective_samples": 1 / (weights.square().sum() * len(weights)),
    }  # fmt: skip
