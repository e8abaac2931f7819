"""Quadrature along a sampler's path: a segment's way from the velocities at a few of its steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from training.randomness import Rng

MOST_NODES = 5
POINTS = MOST_NODES // 2 + 1  # Gauss-Legendre: exact up to degree 5, where 5 nodes need 4


@dataclass(frozen=True)
class Quadrature:
    """Nodes of B segments with the weights of their velocities, [B, n]; what a segment has fewer is its first again."""

    nodes: Tensor  # steps
    weights: Tensor  # float64; their sum is the segment's width in sigma
    wanted_start: Tensor  # the first node's share of the width, before the sign guard, [B]
    guarded: Tensor  # 1 where the guard took nodes away, [B]

    def blended(self, share: float) -> Quadrature:
        """The rest is one straight leap from the first node."""
        leap = self.weights.sum(dim=1, keepdim=True) * one_hot(torch.zeros_like(self.nodes[:, 0]), self.nodes.shape[1])
        return replace(self, weights=share * self.weights + (1 - share) * leap)


def draw_segments(rng: Rng, length: int, longest_tail: int) -> tuple[Tensor, Tensor]:
    """Steps k < j, [B]: (steps after j, from k to j, before) ~ Dirichlet(2.5, 6, 2) over `length`, at least one each.

    longest_tail: most steps from j to the image; 0: any number. Gamma(n / 2) is half the sum of n squared normals, and
    a Dirichlet's shares are Gammas over their sum.
    """
    squares = rng.normal("lengths", (5 + 12 + 4,)).double().square()
    after, _, before = (part.sum(dim=1) / squares.sum(dim=1) for part in squares.split([5, 12, 4], dim=1))
    before = (length * before).round().long().clamp(min=1, max=length - 2)
    after = torch.minimum((length * after).round().long().clamp(min=1), length - 1 - before)
    return before - 1, length - 1 - (after.clamp(max=longest_tail - 1) if longest_tail else after)


def lagrange_weights(positions: Tensor) -> Tensor:
    """∫ over [0, 1] of each node's Lagrange polynomial: positions [B, n] float64 → [B, n], exact for powers below n."""
    points, weights = (torch.from_numpy(part).to(positions.device) for part in np.polynomial.legendre.leggauss(POINTS))
    points, weights = (points + 1) / 2, weights / 2
    away = points - positions[:, :, None]  # [B, node, point]
    reach = positions[:, :, None] - positions[:, None, :]  # [B, node, other node]
    integrals = []
    for node in range(positions.shape[1]):
        others = [other for other in range(positions.shape[1]) if other != node]
        values = away[:, others].prod(dim=1) / reach[:, node, others].prod(dim=1, keepdim=True)
        integrals.append((values * weights).sum(dim=1))
    return torch.stack(integrals, dim=1)


def spaced_nodes(first: Tensor, stop: Tensor, count: int) -> Tensor:
    """`count` near-equally spaced steps of first, …, stop - 1 [B], both ends in; one node is the first: [B, count]."""
    share = torch.linspace(0, 1, count, dtype=torch.float64, device=first.device)
    return (first[:, None] + (stop - 1 - first)[:, None] * share).round().long()


def quadrature(sigmas: Tensor, first: Tensor, stop: Tensor, most: int) -> Quadrature:
    """For the segments first → stop [B] of a path with levels `sigmas` [T + 1]: at most `most` nodes each.

    The sign guard: where the first node's weight points against the segment, its gradient would descend the reward, so
    such a segment takes fewer nodes. A single node has the whole width.
    """
    width, steps = sigmas[stop] - sigmas[first], stop - first
    chosen, wanted_start = torch.ones_like(first), torch.ones_like(width)
    nodes = first[:, None].repeat(1, most)
    shares = one_hot(torch.zeros_like(first), most).double()
    for count in range(2, most + 1):
        candidates = spaced_nodes(first, stop, count)
        weights = lagrange_weights((sigmas[candidates] - sigmas[first, None]) / width[:, None])
        fits = (steps >= count) & weights.isfinite().all(dim=1)  # a DDPM family may stand on one level twice
        wanted_start = torch.where(fits, weights[:, 0], wanted_start)
        good = fits & (weights[:, 0] > 0)
        chosen = torch.where(good, count, chosen)
        nodes = torch.where(good[:, None], torch.cat([candidates, nodes[:, count:]], dim=1), nodes)
        shares = torch.where(good[:, None], pad(weights, (0, most - count)), shares)
    return Quadrature(nodes, shares * width[:, None], wanted_start, (chosen < steps.clamp(max=most)).double())
