"""Families at the width that ComfyUI recognises them by, in few blocks: the tiny pipelines with some parts replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import load_file, save_file
from tiny import folders, parts, qwen_image
from transformers import T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel
from wide.originals import EXTRA, to_original

T5 = {"d_model": 4096, "d_ff": 32, "d_kv": 8, "num_layers": 2, "num_heads": 2}
CROSS = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D")


def flux() -> dict[str, Any]:
    """FLUX.1-dev with one block of each kind."""
    return {
        "transformer": diffusers.FluxTransformer2DModel(num_layers=1, num_single_layers=1, guidance_embeds=True),
        "text_encoder": parts.clip_text(768), "text_encoder_2": t5_text(),
        "vae": parts.autoencoder(16, scaling_factor=0.36, shift_factor=0.11),
    }  # fmt: skip


def qwen() -> dict[str, Any]:
    """Qwen-Image with two blocks: nothing reads the text that comes out of the last one."""
    return {
        "transformer": diffusers.QwenImageTransformer2DModel(num_layers=2),
        "text_encoder": qwen_image.text(len(parts.qwen_tokenizer(qwen_image.TEMPLATE)), 3584, 28),
        "vae": diffusers.AutoencoderKLQwenImage(
            base_dim=8, z_dim=16, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[True]
        ),
    }


def sd15() -> dict[str, Any]:
    """Stable Diffusion 1.5 whole: ComfyUI reads diffusers' layout of the published networks only."""
    return {
        "unet": diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
        "text_encoder": parts.clip_text(768),
    }


def sd3() -> dict[str, Any]:
    """Stable Diffusion 3.5 with six blocks, two of them with two attentions; its width is 64 a block."""
    return {
        "transformer": diffusers.SD3Transformer2DModel(
            in_channels=16, num_layers=6, num_attention_heads=6, caption_projection_dim=384, joint_attention_dim=4096,
            pooled_projection_dim=2048, pos_embed_max_size=96, dual_attention_layers=(0, 1), qk_norm="rms_norm",
        ),
        "text_encoder": parts.clip_text(768, projected=True),
        "text_encoder_2": parts.clip_text(1280, projected=True, act="gelu"),
        "text_encoder_3": t5_text(),
        "vae": parts.autoencoder(
            16, scaling_factor=1.53, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False
        ),
    }  # fmt: skip


def sdxl() -> dict[str, Any]:
    """The smallest network of Stable Diffusion XL's layers that ComfyUI knows, Segmind's Vega."""
    down, up = CROSS
    return {
        "unet": diffusers.UNet2DConditionModel(
            sample_size=128, block_out_channels=(320, 640, 1280), down_block_types=("DownBlock2D", down, down),
            up_block_types=(up, up, "UpBlock2D"), mid_block_type="UNetMidBlock2D", attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048, use_linear_projection=True, transformer_layers_per_block=(1, 1, 2),
            addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        ),
        "text_encoder": parts.clip_text(768),
        "text_encoder_2": parts.clip_text(1280, projected=True, act="gelu"),
    }  # fmt: skip


def wan() -> dict[str, Any]:
    """Wan 2.1 T2V 1.3B with two blocks."""
    return {
        "transformer": diffusers.WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=2),
        "text_encoder": UMT5EncoderModel(UMT5Config(**T5, vocab_size=len(parts.t5_tokenizer()))),
        "vae": diffusers.AutoencoderKLWan(
            base_dim=8, z_dim=16, dim_mult=[1, 1, 1], num_res_blocks=1, temperal_downsample=[True, True],
            scale_factor_spatial=4,
        ),
    }  # fmt: skip


def z_image() -> dict[str, Any]:
    """Z-Image with one block between its four refining ones, whose number ComfyUI takes for granted."""
    return {
        "transformer": diffusers.ZImageTransformer2DModel(n_layers=1),
        "text_encoder": parts.qwen_text(parts.qwen_tokenizer(), width=2560).model,
        "vae": parts.autoencoder(16, scaling_factor=0.36, shift_factor=0.11),
    }


FAMILIES: dict[str, Callable[[], dict[str, Any]]] = {
    "flux": flux, "qwen_image": qwen, "sd15": sd15, "sd3": sd3, "sdxl": sdxl, "wan": wan, "z_image": z_image,
}  # fmt: skip


def t5_text() -> T5EncoderModel:
    """T5's encoder, wide outside only."""
    return T5EncoderModel(T5Config(**T5, vocab_size=len(parts.t5_tokenizer())))


def write(family: str, folder: Path) -> None:
    """FOLDER/pipeline in diffusers' layout, and FOLDER/network.safetensors, the same network for ComfyUI.

    The latter is a link where ComfyUI reads diffusers' names, else a renamed copy.
    """
    torch.manual_seed(0)
    pipe, replaced = folders.family(family).build(), FAMILIES[family]()
    pipe.register_modules(**replaced)
    parts.lively(*(part for part in pipe.components.values() if isinstance(part, torch.nn.Module)))
    pipe.save_pretrained(folder / "pipeline")
    component = "unet" if "unet" in replaced else "transformer"
    (weights,) = (folder / "pipeline" / component).glob("*.safetensors")
    if family in EXTRA:
        del pipe, replaced
        save_file(to_original(family, load_file(weights)), folder / "network.safetensors")
    else:
        (folder / "network.safetensors").symlink_to(weights)
