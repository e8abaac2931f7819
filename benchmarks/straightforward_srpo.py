"""One SRPO update written straight from the published procedure, with nothing saved: what Palate's is measured against.

Rollout without gradient through the LoRA layers, then the denoise and the inversion branch one after the other, the
reward's text tower called each time for each word. The denoiser's text states are cached, as on the other side.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training.contracts import PromptBatch
from training.methods.srpo import Srpo
from training.trainer import Parts


@dataclass
class Phases:
    """Seconds of an update's two phases."""

    rollout: float
    rest: float


def velocity(parts: Parts, x: Tensor, sigma: Tensor, batch: PromptBatch) -> Tensor:
    """The network's velocity at x."""
    return parts.policy.base.forward(x, sigma, batch.conditioning, 1.0)


def encode_text(reward: Any, texts: list[str]) -> Tensor:
    """The text tower, called anew."""
    with torch.no_grad():
        return functional.normalize(reward.model.encode_text(reward.tokenizer(texts)), dim=-1)


def encode_images(reward: Any, images: Tensor) -> Tensor:
    """The image tower on pictures in [0, 1]."""
    return functional.normalize(reward.model.encode_image((images - 0.5) / 0.5), dim=-1)


def update(parts: Parts, method: Srpo, batch: PromptBatch, noise: Tensor, m: Tensor) -> Phases:
    """Gradients of one update into the LoRA; noise [B, C, h, w] and grid positions m [B] as Palate draws them."""
    started = time.perf_counter()
    x0 = rollout(parts, method, batch, noise)
    rolled = time.perf_counter()

    size = method.levels
    grid = torch.linspace(method.sigma_high, method.sigma_low, size)
    width = torch.minimum(torch.minimum(size - m, m), torch.tensor(int((1 - method.known_share) * size) + 1))
    target = grid[size - m]
    early = m / (size - 1)
    k = method.positive_late + (method.positive_early - method.positive_late) * early
    branch(parts, method, batch, x0, noise, (grid[size - m - width], target), k, inverted=False)
    k = method.inversion_late + (method.inversion_early - method.inversion_late) * (m - width) / (size - 1)
    cleaner = (size - m + width).clamp(max=size - 1)
    branch(parts, method, batch, x0, noise, (grid[cleaner], target), k, inverted=True)
    return Phases(rolled - started, time.perf_counter() - rolled)


@torch.no_grad()
def rollout(parts: Parts, method: Srpo, batch: PromptBatch, noise: Tensor) -> Tensor:
    """Euler steps from noise to image."""
    t = torch.linspace(1, 0, method.rollout_steps + 1)
    sigmas = method.shift * t / (1 + (method.shift - 1) * t)
    x = noise
    for now, then in pairwise(sigmas):
        x = x + (then - now) * velocity(parts, x, now.expand(len(x)), batch)
    return x


def branch(
    parts: Parts, method: Srpo, batch: PromptBatch, x0: Tensor, noise: Tensor,
    levels: tuple[Tensor, Tensor], k: Tensor, *, inverted: bool,
) -> None:  # fmt: skip
    """One network call from sigma_in to sigma_to, the recovered picture's relative reward, backward."""
    sigma_in, sigma_to = (level.view(-1, 1, 1, 1) for level in levels)
    x_in = sigma_in * noise + (1 - sigma_in) * x0
    x_to = x_in + (sigma_to - sigma_in) * velocity(parts, x_in, levels[0], batch)
    recovered = (x_to - sigma_to * noise) / (1 - sigma_to)
    features = encode_images(parts.reward, parts.policy.decode(recovered))
    words = [[(w.positive, w.negative), (w.negative, w.positive)][inverted] for w in batch.words]
    wanted = encode_text(parts.reward, [f"{w[0]}. {p}" for w, p in zip(words, batch.prompts, strict=True)])
    unwanted = encode_text(parts.reward, [f"{w[1]}. {p}" for w, p in zip(words, batch.prompts, strict=True)])
    relative = ((1 + k) * (features * wanted).sum(1)) - (features * unwanted).sum(1)
    loss = torch.relu(method.margin - relative).mean() if method.margin is not None else -relative.mean()
    (loss * 0.5 * (method.inversion if inverted else 1.0)).backward()
