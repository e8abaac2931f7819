"""Numbers that describe a set of pictures. Pure functions of [B, 3, H, W] in [0, 1], unit features [B, D] or scores."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def saturation(images: Tensor) -> Tensor:
    """Largest minus smallest channel, averaged per picture, [B] in [0, 1]."""
    return (images.amax(dim=1) - images.amin(dim=1)).mean(dim=(1, 2))


def brightness(images: Tensor) -> Tensor:
    """Rec. 709 luma, averaged per picture, [B] in [0, 1]."""
    weights = torch.tensor([0.2126, 0.7152, 0.0722], device=images.device)
    return torch.einsum("bchw,c->bhw", images, weights).mean(dim=(1, 2))


def clipped(images: Tensor) -> Tensor:
    """Share of pixels with a channel at the very end of the range (within 1/255), [B]."""
    ends = (images <= 1 / 255) | (images >= 254 / 255)
    return ends.any(dim=1).float().mean(dim=(1, 2))


def texture(images: Tensor) -> Tensor:
    """High-frequency energy: mean absolute Laplacian of the grey picture, [B]."""
    grey = images.mean(dim=1, keepdim=True)
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], device=images.device)
    return functional.conv2d(grey, kernel[None, None]).abs().mean(dim=(1, 2, 3))


def diversity(features: Tensor) -> Tensor:
    """1 - mean cosine over all pairs of different pictures; 0 when all are alike. features: unit [B, D], B >= 2."""
    count = len(features)
    total = (features @ features.T).sum() - features.pow(2).sum()
    return 1 - total / (count * (count - 1))


def recall(image_features: Tensor, text_features: Tensor, wanted: Tensor, k: int = 5) -> Tensor:
    """Share of pictures whose own text is among the k nearest, scalar. wanted: index of each picture's text, [B]."""
    similar = image_features @ text_features.T
    nearest = similar.topk(min(k, similar.shape[1]), dim=1).indices
    return (nearest == wanted[:, None]).any(dim=1).float().mean()


def word_cosine(target: Tensor) -> Tensor:
    """Mean cosine of the two words' texts, scalar. target: unit features [B, 2, D]."""
    return (target[:, 0] * target[:, 1]).sum(dim=1).mean()


def auc(positive: Tensor, negative: Tensor) -> float:
    """Probability that a positive score exceeds a negative one, ties counted half (Mann-Whitney)."""
    return float(wins(positive[:, None] - negative[None, :]).mean())


def wins(margins: Tensor) -> Tensor:
    """1 where the margin is above 0, 0 where it is below, and 1/2 for a tie, float32."""
    return (margins.sign().float() + 1) / 2
