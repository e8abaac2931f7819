"""Stable Diffusion 3.5 medium in small."""

from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from tiny import parts

SIZE = (32, 16)
GUIDANCE = {"guidance_scale": 4.0}
SETTINGS = {"max_tokens": 32}
OPTIONS = {"max_sequence_length": 32}
LEFT_OUT = ("norm1.linear", "norm1_context.linear")  # what the timestep modulates


def build() -> StableDiffusion3Pipeline:
    transformer = SD3Transformer2DModel(
        sample_size=8, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=32, pos_embed_max_size=16,
        dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer, FlowMatchEulerDiscreteScheduler(shift=3.0),
        parts.autoencoder(scaling_factor=1.53, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        parts.clip_text(projected=True), parts.clip_tokenizer(), parts.clip_text(projected=True, act="gelu"),
        parts.clip_tokenizer(), parts.t5_text(32), parts.t5_tokenizer(),
    )  # fmt: skip
