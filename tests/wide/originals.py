"""Whole networks from diffusers' names to the original ones, for the families that ComfyUI reads in those alone.

The layers that a LoRA may change go by the toolkit's table; here is what else a network has.
"""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.loras.families import FAMILIES
from toolkit.loras.names import Renaming, renamed, same

BLOCKS = ("layers", "noise_refiner", "context_refiner")
EXTRA = {
    "wan": renamed({
        "blocks.*.norm2": "blocks.*.norm3",
        "blocks.*.scale_shift_table": "blocks.*.modulation",
        "scale_shift_table": "head.modulation",
        **{
            f"blocks.*.attn{number}.norm_{part}": f"blocks.*.{attention}.norm_{part}"
            for number, attention in ((1, "self_attn"), (2, "cross_attn"))
            for part in "qk"
        },
    }),
    "z_image": (
        *same("cap_embedder.0", "x_pad_token", "cap_pad_token"),
        *same(*(f"{b}.*.{a}_norm{n}" for b in BLOCKS for a in ("attention", "ffn") for n in (1, 2))),
        *renamed({f"{b}.*.attention.norm_{part}": f"{b}.*.attention.{part}_norm" for b in BLOCKS for part in "qk"}),
    ),
}  # fmt: skip


def to_original(family: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers under the original names, fused where the original network fuses."""
    renaming = Renaming((*FAMILIES[family].renaming.rules, *EXTRA[family]))
    rows: dict[str, dict[int, Tensor]] = {}
    for name, tensor in weights.items():
        layer, kind = (name, "") if name.endswith(("_table", "_token")) else name.rsplit(".", 1)
        place = renaming.to_original(layer)
        assert place is not None, name
        rows.setdefault(f"{place.name}.{kind}".rstrip("."), {})[place.first] = tensor
    return {name: torch.cat([parts[first] for first in sorted(parts)]) for name, parts in rows.items()}
