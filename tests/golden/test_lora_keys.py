"""The key tables in `toolkit/loras/keys` are what diffusers' classes have; run this file with --write to renew them.

The sizes are those of the published configurations; the networks are built on the meta device, so nothing is loaded.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from toolkit.loras import keys
from toolkit.loras.families import FAMILIES
from toolkit.loras.family import TRANSFORMER, Spelling

KEYS = Path(keys.__file__).parent / "keys"
UNET_XL = {
    "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
HUNYUAN = {
    "num_layers": 40, "num_attention_heads": 16, "attention_head_dim": 88, "in_channels": 4, "patch_size": 2,
    "activation_fn": "gelu-approximate", "sample_size": 128, "hidden_size": 1408, "cross_attention_dim": 1024,
    "cross_attention_dim_t5": 2048, "pooled_projection_dim": 1024, "mlp_ratio": 4.3637, "text_len": 77,
    "text_len_t5": 256,
}  # fmt: skip
SD3 = {"sample_size": 128, "pooled_projection_dim": 2048, "joint_attention_dim": 4096}
DEMO = json.loads((files("demo_world") / "weights" / "transformer" / "config.json").read_text(encoding="utf-8"))
IMAGE = {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120}
CLASSES: dict[str, str] = {
    "cogvideox": "CogVideoXTransformer3DModel", "demo": "FluxTransformer2DModel", "flux": "FluxTransformer2DModel",
    "flux2": "Flux2Transformer2DModel", "hunyuan_dit": "HunyuanDiT2DModel", "sd15": "UNet2DConditionModel",
    "qwen_image": "QwenImageTransformer2DModel", "sd3": "SD3Transformer2DModel", "sdxl": "UNet2DConditionModel",
    "wan": "WanTransformer3DModel", "z_image": "ZImageTransformer2DModel",
}  # fmt: skip
PUBLISHED: dict[str, dict[str, dict[str, Any]]] = {
    "cogvideox": {
        "CogVideoX-2b": {},
        "CogVideoX-5b": {"num_layers": 42, "num_attention_heads": 48},
        "CogVideoX1.5-5B": {"num_layers": 42, "num_attention_heads": 48, "patch_size_t": 2, "patch_bias": False},
        "CogVideoX1.5-5B-I2V": {
            "num_layers": 42, "num_attention_heads": 48, "patch_size_t": 2, "patch_bias": False, "in_channels": 32,
            "ofs_embed_dim": 512,
        },
    },
    "demo": {"palate-demo": {name: value for name, value in DEMO.items() if not name.startswith("_")}},
    "flux": {"FLUX.1-dev": {"guidance_embeds": True}, "FLUX.1-schnell": {}},
    "flux2": {
        "FLUX.2-dev": {},
        "FLUX.2-klein-4B": {
            "num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
        "FLUX.2-klein-9B": {
            "num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32, "joint_attention_dim": 12288,
            "guidance_embeds": False,
        },
    },
    "hunyuan_dit": {
        "HunyuanDiT-v1.1": {**HUNYUAN, "use_style_cond_and_image_meta_size": True},
        "HunyuanDiT-v1.2": {**HUNYUAN, "use_style_cond_and_image_meta_size": False},
    },
    "qwen_image": {"Qwen-Image": {}},
    "sd15": {"stable-diffusion-v1-5": {"cross_attention_dim": 768}},
    "sd3": {
        "stable-diffusion-3-medium": {
            **SD3, "num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536,
        },
        "stable-diffusion-3.5-medium": {
            **SD3, "num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536,
            "dual_attention_layers": tuple(range(13)), "qk_norm": "rms_norm",
        },
        "stable-diffusion-3.5-large": {
            **SD3, "num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432, "qk_norm": "rms_norm",
        },
    },
    "sdxl": {"stable-diffusion-xl-base-1.0": UNET_XL},
    "wan": {
        "Wan2.1-T2V-1.3B": {"num_layers": 30, "num_attention_heads": 12, "ffn_dim": 8960},
        "Wan2.1-T2V-14B": {},
        "Wan2.1-I2V-14B": IMAGE,
        "Wan2.2-TI2V-5B": {
            "num_layers": 30, "num_attention_heads": 24, "ffn_dim": 14336, "in_channels": 48, "out_channels": 48,
        },
    },
    "z_image": {"Z-Image": {}},
}  # fmt: skip


# A family that no tried ComfyUI release has: diffusers' names, since the wrapper pack hands the file to diffusers.
DERIVED: dict[str, list[Spelling]] = {"cogvideox": [TRANSFORMER]}


def layers(family: str, settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """What a LoRA can sit on: linear and convolution layers, by name."""
    with torch.device("meta"):
        network = getattr(diffusers, CLASSES[family])(**settings)
    kinds = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Conv3d)
    return {name: tuple(m.weight.shape) for name, m in network.named_modules() if isinstance(m, kinds)}


def table(family: str) -> str:
    """The text of one table."""
    lines = [f"# {FAMILIES[family].title}: the layers of diffusers' {CLASSES[family]}, output x input."]
    for model, settings in PUBLISHED[family].items():
        lines += [f"[{model}]", *keys.compress(layers(family, settings))]
    return "\n".join(lines) + "\n"


def comfyui_table(family: str) -> str:
    """The text of a derived table of ComfyUI's names."""
    renaming, names = FAMILIES[family].renaming, set()
    ours = {name for settings in PUBLISHED[family].values() for name in layers(family, settings)}
    places = {name: place.name for name in ours if (place := renaming.to_original(name))}
    for spelling in DERIVED[family]:
        names |= {spelling.stem(name if spelling.names == "diffusers" else place) for name, place in places.items()}
    title = f"# {FAMILIES[family].title}: derived from the published layer names, not from a running ComfyUI."
    return "\n".join([title, "[ComfyUI]", *keys.compress(dict.fromkeys(names, ()))]) + "\n"


def test_there_is_a_table_for_every_family() -> None:
    assert set(PUBLISHED) == set(FAMILIES) == {path.stem for path in KEYS.glob("*.txt") if "." not in path.stem}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_table_is_what_diffusers_has(family: str) -> None:
    assert (KEYS / f"{family}.txt").read_text(encoding="utf-8") == table(family)


@pytest.mark.parametrize("family", DERIVED)
def test_the_derived_table_follows_from_the_names(family: str) -> None:
    assert (KEYS / f"{family}.comfyui.txt").read_text(encoding="utf-8") == comfyui_table(family)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_that_is_written_for_comfyui_stands_in_its_table(family: str) -> None:
    each = FAMILIES[family]
    ours = {name for settings in PUBLISHED[family].values() for name in layers(family, settings)}
    places = {name: each.renaming.to_original(name) for name in ours}
    written = {
        each.comfyui.stem(name if each.comfyui.names == "diffusers" else place.name)
        for name, place in places.items()
        if place
    }
    assert written - keys.comfyui(family) == set()


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    for each in PUBLISHED:
        (KEYS / f"{each}.txt").write_text(table(each), encoding="utf-8")
    for each in DERIVED:
        (KEYS / f"{each}.comfyui.txt").write_text(comfyui_table(each), encoding="utf-8")
