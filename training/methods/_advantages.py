"""From the rewards of one update to advantages: how much better than its like a picture is. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

GROUP_DELTA = 1e-8  # added to a group's own deviation (DanceGRPO, MixGRPO)
GLOBAL_DELTA = 1e-4  # added to that of all samples (Flow-GRPO)
ALIKE = 1e-6  # a deviation this small beside the rewards themselves is float32's rounding


def group_std(rewards: Tensor, group_size: int) -> Tensor:
    """Unbiased deviation of each group, [P], exactly 0 where its rewards are equal but for rounding.

    rewards: [P · group_size], group after group.
    """
    groups = rewards.double().unflatten(0, (-1, group_size))
    std = groups.std(dim=1) if group_size > 1 else torch.zeros_like(groups[:, 0])
    return torch.where(std <= ALIKE * groups.abs().amax(dim=1), 0.0, std)


def group_advantages(rewards: Tensor, group_size: int, everyone: Tensor | None = None) -> Tensor:
    """(r - mean of its group) / deviation, [P · group_size]; a group of equal rewards gets 0, not amplified rounding.

    everyone: the rewards of all samples of the update, whose deviation then serves instead of the group's own.
    """
    groups = rewards.double().unflatten(0, (-1, group_size))
    own = group_std(rewards, group_size)[:, None]
    spread = own + GROUP_DELTA if everyone is None else everyone.double().std(correction=0) + GLOBAL_DELTA
    advantages = (groups - groups.mean(dim=1, keepdim=True)) / spread
    return torch.where(own > 0, advantages, 0.0).flatten().to(rewards.dtype)


def best_and_worst(advantages: Tensor, group_size: int, count: int) -> Tensor:
    """The places of each group's count/2 best and count/2 worst samples, [P, count], ascending (arXiv:2505.07818)."""
    order = advantages.unflatten(0, (-1, group_size)).argsort(dim=1, stable=True)
    chosen = torch.cat([order[:, : count // 2], order[:, group_size - count // 2 :]], dim=1).sort(dim=1).values
    return chosen + group_size * torch.arange(len(chosen), device=chosen.device)[:, None]
