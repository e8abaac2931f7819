"""CogVideoX-5B in small: rotary positions; its own default scheduler is a stochastic one."""

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from tiny import parts

SIZE = (32, 16)
GUIDANCE = {"guidance_scale": 4.0}
SETTINGS = {"frames": 9}
LEFT_OUT = ("norm1.linear", "norm2.linear")  # what the timestep modulates
NOISE = {
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": False,
}  # fmt: skip


def build() -> CogVideoXPipeline:
    return pipeline(CogVideoXDPMScheduler(snr_shift_scale=1.0, **NOISE), scaling_factor=0.7, rope=True)


def pipeline(scheduler: object, *, scaling_factor: float, rope: bool) -> CogVideoXPipeline:
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=8,
        text_embed_dim=16, num_layers=2, sample_width=8, sample_height=4, sample_frames=9,
        use_rotary_positional_embeddings=rope,
    )  # fmt: skip
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8), down_block_types=("CogVideoXDownBlock3D",) * 3,
        up_block_types=("CogVideoXUpBlock3D",) * 3, latent_channels=4, layers_per_block=1, norm_num_groups=2,
        scaling_factor=scaling_factor,
    )  # fmt: skip
    return CogVideoXPipeline(parts.t5_tokenizer(), parts.t5_text(), vae, transformer, scheduler)


def deterministic(pipe: CogVideoXPipeline) -> None:
    """The sampler that Palate walks with."""
    pipe.scheduler = CogVideoXDDIMScheduler.from_config(pipe.scheduler.config)


def to_pipeline(noise: torch.Tensor) -> torch.Tensor:
    """Frames before channels, as the pipeline wants latents."""
    return noise.transpose(1, 2)
