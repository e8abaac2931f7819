"""Which tensors of a LoRA file a model takes: counted before anything is patched, since ComfyUI only logs the rest."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

UP = (".lora_up.weight", ".lora_B.weight", ".lora.up.weight", "_lora.up.weight", ".lora_B.default.weight", ".lora_B")
DOWN = (
    ".lora_down.weight", ".lora_A.weight", ".lora.down.weight", "_lora.down.weight", ".lora_A.default.weight",
    ".lora_A",
)  # fmt: skip
OTHERS = (
    ".alpha", ".dora_scale", ".lora_mid.weight", ".diff", ".diff_b", ".set_weight", ".w_norm", ".b_norm",
    ".reshape_weight", ".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b", ".hada_t1", ".hada_t2", ".lokr_w1",
    ".lokr_w2", ".lokr_w1_a", ".lokr_w1_b", ".lokr_w2_a", ".lokr_w2_b", ".lokr_t2", ".a1.weight", ".a2.weight",
    ".b1.weight", ".b2.weight", ".oft_blocks", ".rescale",
)  # fmt: skip
SUFFIXES = tuple(sorted((*UP, *DOWN, *OTHERS), key=len, reverse=True))
TEXT_ENCODERS = ("lora_te", "lora_prior_te", "text_encoder", "text_encoders.", "clip_l.", "clip_g.", "t5xxl.")


@dataclass(frozen=True)
class Count:
    """Names of a file's tensors: taken, meant for text encoders that are not connected, and unknown to the model."""

    used: tuple[str, ...]
    without_clip: tuple[str, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.used) + len(self.unknown)
        text = f"{len(self.used)} of {total} tensors used"
        if self.unknown:
            text += f"; not known to this model: {', '.join(self.unknown[:3])}{' …' if len(self.unknown) > 3 else ''}"
        if self.without_clip:
            text += f"; {len(self.without_clip)} for the text encoder left out, no CLIP is connected"
        return text


def stem(name: str) -> str:
    """The layer that a tensor belongs to, as the file calls it."""
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name


def count(names: Collection[str], known: Collection[str], *, clip: bool) -> Count:
    """names: of the file's tensors; known: layers that ComfyUI finds in the model, and in the clip if there is one."""
    used = [name for name in names if stem(name) in known]
    rest = [name for name in names if stem(name) not in known]
    without_clip = [name for name in rest if not clip and name.startswith(TEXT_ENCODERS)]
    unknown = sorted(set(rest) - set(without_clip))
    return Count(tuple(sorted(used)), tuple(sorted(without_clip)), tuple(unknown))


def pairs(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer → (up [out,r], down [r,in]) of a plain LoRA, convolutions with their window."""
    ups = {stem(name): tensor for name, tensor in tensors.items() if name.endswith(UP)}
    downs = {stem(name): tensor for name, tensor in tensors.items() if name.endswith(DOWN)}
    return {layer: (ups[layer], downs[layer]) for layer in ups if layer in downs}


def misfit(tensors: Mapping[str, Tensor], known: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """The first layer whose sizes are another model's, as a sentence's end; "" when all fit.

    known: layer → weight's name, or (name, (dimension, start, length), …) for a slice of it. Weights that are packed
    into whole numbers show no sizes and are passed over.
    """
    for layer, (up, down) in pairs(tensors).items():
        place = known.get(layer)
        name, part = (place, None) if isinstance(place, str) else (place or ("", None))[:2]
        weight = weights.get(name)
        if weight is None or not weight.dtype.is_floating_point:
            continue
        shape = list(weight.shape)
        if part is not None:
            shape[part[0]] = part[2]
        mine = (up.shape[0], math.prod(down.shape[1:]))
        if mine != (shape[0], math.prod(shape[1:])):
            return f"{layer} is {mine[0]} × {mine[1]} in the file and {shape[0]} × {math.prod(shape[1:])} in the model"
    return ""
