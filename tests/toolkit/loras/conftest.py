"""Small random LoRAs of every family, as its diffusers file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from toolkit.loras import writing
from toolkit.loras.families import FAMILIES
from toolkit.loras.updates import Update

WIDTH, RANK = 12, 2
LAYERS: dict[str, list[str]] = {
    "cogvideox": ["transformer_blocks.0.attn1.to_q", "transformer_blocks.1.ff.net.0.proj"],
    "demo": ["transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.proj_mlp"],
    "flux": [
        "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_v", "transformer_blocks.0.attn.add_k_proj",
        "single_transformer_blocks.1.attn.to_q", "single_transformer_blocks.1.proj_out", "norm_out.linear",
    ],
    "flux2": [
        "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_k", "transformer_blocks.0.attn.to_v",
        "transformer_blocks.1.attn.add_k_proj", "transformer_blocks.1.ff.linear_in",
        "single_transformer_blocks.1.attn.to_qkv_mlp_proj", "single_transformer_blocks.0.attn.to_out",
    ],
    "hunyuan_dit": ["blocks.0.attn1.to_q", "blocks.0.attn1.to_v", "blocks.1.attn2.to_k", "norm_out.linear"],
    "qwen_image": ["transformer_blocks.0.attn.to_q", "transformer_blocks.1.img_mlp.net.0.proj"],
    "sd15": [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "mid_block.resnets.0.conv1",
        "up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_out.0",
    ],
    "sd3": ["transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn2.to_v", "transformer_blocks.1.ff.net.2"],
    "sdxl": ["down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q", "mid_block.attentions.0.proj_in"],
    "wan": ["blocks.0.attn1.to_q", "blocks.0.attn2.to_out.0", "blocks.1.ffn.net.2", "condition_embedder.time_proj"],
    "z_image": ["layers.0.attention.to_q", "noise_refiner.1.attention.to_out.0", "context_refiner.0.feed_forward.w1"],
}  # fmt: skip


def random_updates(family: str, seed: int = 3) -> dict[str, Update]:
    """Updates of WIDTH-wide layers; a convolution where the name says so."""
    generator = torch.Generator().manual_seed(seed)
    updates = {}
    for name in LAYERS[family]:
        kernel, ones = ((3, 3), (1, 1)) if name.endswith("conv1") else ((), ())
        down = torch.randn(RANK, WIDTH, *kernel, generator=generator)
        updates[name] = Update(down, torch.randn(WIDTH, RANK, *ones, generator=generator))
    return updates


@pytest.fixture
def diffusers_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a family's small LoRA as diffusers has it."""

    def written(family: str, *, seed: int = 3, name: str = "aligned") -> Path:
        path = tmp_path / f"{name}.safetensors"
        each = FAMILIES[family]
        about = {
            "palate": json.dumps(
                {
                    "family": each.architecture if family == "demo" else family,
                    "method": "srpo",
                    "base": "somebody/base",
                    "words": [{"positive": "a", "negative": "b"}],
                }
            )
        }
        updates = random_updates(family, seed)
        writing.write(path, updates, each, each.diffusers, dtype="float32", metadata=about)
        return path

    return written
