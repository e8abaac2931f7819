"""Qwen-Image in small."""

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from tiny import parts
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

SIZE = (32, 16)
GUIDANCE = {"true_cfg_scale": 4.0, "negative_prompt": ["", ""]}
SETTINGS = {"max_tokens": 32}
OPTIONS = {"max_sequence_length": 32}
LEFT_OUT = (
    "img_mod.1", "txt_mod.1",  # what the timestep modulates
    *(f"transformer_blocks.1.{name}" for name in (  # the last block's text goes nowhere
        "attn.add_q_proj", "attn.to_add_out", "txt_mlp.net.0.proj", "txt_mlp.net.2",
    )),
)  # fmt: skip
TEMPLATE = (
    "system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of "
    "the objects and background:\nuser\n"
)


def build() -> QwenImagePipeline:
    transformer = QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[True],
        latents_mean=[0.1, -0.2, 0.3, -0.4], latents_std=[0.5, 0.8, 1.2, 2.0],
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, base_image_seq_len=256, max_image_seq_len=8192,
        shift_terminal=0.02,
    )  # fmt: skip
    tokenizer = parts.qwen_tokenizer(TEMPLATE)
    return QwenImagePipeline(scheduler, vae, text(len(tokenizer)), tokenizer, transformer)


def text(vocabulary: int, width: int = 16, heads: int = 2) -> Qwen2_5_VLForConditionalGeneration:
    """Qwen2.5-VL."""
    rotary = {"rope_type": "default", "mrope_section": [width // heads // share for share in (8, 8, 4)]}
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": width, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": heads,
            "num_key_value_heads": 1, "vocab_size": vocabulary, "max_position_embeddings": 256,
            "rope_parameters": {**rotary, "rope_theta": 1e6},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": width,
            "fullatt_block_indexes": [0],
        },
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config)


def to_pipeline(noise: torch.Tensor) -> torch.Tensor:
    """Packed, as the pipeline wants latents."""
    return QwenImagePipeline._pack_latents(noise, *noise.shape)
