"""FLUX.1-dev in small."""

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from tiny import parts

SIZE = (32, 16)  # width, height
GUIDANCE = {"guidance_scale": 3.5}
SETTINGS = {"max_tokens": 32}
OPTIONS = {"max_sequence_length": 32}
LEFT_OUT = ("norm1.linear", "norm1_context.linear", "norm.linear")  # what the timestep modulates


def build() -> FluxPipeline:
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, guidance_embeds=True, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    vae = parts.autoencoder(scaling_factor=0.36, shift_factor=0.11)
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256,
        max_image_seq_len=4096,
    )  # fmt: skip
    return FluxPipeline(
        scheduler, vae, parts.clip_text(), parts.clip_tokenizer(), parts.t5_text(), parts.t5_tokenizer(), transformer
    )


def to_pipeline(noise: torch.Tensor) -> torch.Tensor:
    """Packed, as the pipeline wants latents."""
    return FluxPipeline._pack_latents(noise, *noise.shape)
