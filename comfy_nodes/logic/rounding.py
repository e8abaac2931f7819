"""Whether a base that stores its weights in a byte or less can hold a small update at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .key_counting import pairs

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
SAMPLED = 4  # layers that are looked at, evenly spread
SCALES = ("scale_weight", "weight_scale")  # beside a scaled float8 weight; the true one is weight × scale


def update_size(up: Tensor, down: Tensor, alpha: float | None) -> float:
    """Root mean square of α/r · up @ down, from two small Gram matrices instead of the product."""
    b, a = up.flatten(1).float(), down.flatten(1).float()
    squares = ((b.T @ b) * (a @ a.T)).sum().clamp(min=0)
    scale = 1.0 if alpha is None else alpha / a.shape[0]
    return scale * float((squares / (b.shape[0] * a.shape[1])).sqrt())


def lost_layers(
    tensors: Mapping[str, Tensor], known: Mapping[str, Any], weights: Mapping[str, Tensor], strength: float
) -> tuple[int, int]:
    """(layers whose update is below half a rounding step of an 8-bit weight, layers looked at).

    A float keeps a fraction of its own size: half the step of a typical weight w is w · eps / 2, with eps 1/8 for e4m3
    and 1/4 for e5m2. An update below it is rounded away, or drowns in the noise where rounding is random.
    """
    if strength == 0:
        return 0, 0
    layers = [layer for layer in pairs(tensors) if _half_step(weights.get(_name(known.get(layer))))]
    chosen = layers[:: max(1, len(layers) // SAMPLED)][:SAMPLED]
    lost = 0
    for layer in chosen:
        name, alpha = _name(known[layer]), tensors.get(f"{layer}.alpha")
        update = abs(strength) * update_size(*pairs(tensors)[layer], None if alpha is None else float(alpha))
        lost += update < _typical(weights, name) * _half_step(weights[name])
    return lost, len(chosen)


def warning(lost: int, seen: int) -> str:
    """The sentence for the screen, "" when nothing is lost."""
    if not lost:
        return ""
    return (
        f"the model stores its weights in 8 bits, and in {lost} of {seen} layers looked at this LoRA's change is below "
        "half a rounding step: part of it is rounded away. Use the model in 16 bits, or a higher strength"
    )


def _name(place: Any) -> str:
    """The weight's name behind a place of ComfyUI's: itself, or the first of (name, slice, …)."""
    return place if isinstance(place, str) else (place or ("",))[0]


def _half_step(weight: Any) -> float:
    """Half a rounding step as a fraction of the weight, 0 for what is no float8.

    A QuantizedTensor keeps its numbers inside and shows the precision that it calculates in.
    """
    stored = getattr(weight, "_qdata", weight)
    return torch.finfo(stored.dtype).eps / 2 if stored is not None and stored.dtype in FLOAT8 else 0.0


def _typical(weights: Mapping[str, Tensor], name: str) -> float:
    """Root mean square of the weight as the model calculates with it."""
    weight = weights[name]
    if hasattr(weight, "_qdata"):
        return float(weight.dequantize().float().square().mean().sqrt())
    layer = name.removesuffix(".weight")
    scales = [weights[f"{layer}.{each}"] for each in SCALES if f"{layer}.{each}" in weights]
    size = float(weight.float().square().mean().sqrt())
    return size * float(scales[0].float().abs().mean()) if scales else size
