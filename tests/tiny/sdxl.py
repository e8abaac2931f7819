"""Stable Diffusion XL in small."""

from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from tiny import parts

SIZE = (32, 16)
GUIDANCE = {"guidance_scale": 4.0}
LEFT_OUT = ("time_emb_proj",)


def build() -> StableDiffusionXLPipeline:
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, attention_head_dim=(2, 4), cross_attention_dim=32, use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=8, transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=16 + 6 * 8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, timestep_spacing="leading"
    )
    return StableDiffusionXLPipeline(
        parts.autoencoder(scaling_factor=0.13025, force_upcast=False), parts.clip_text(),
        parts.clip_text(projected=True, act="gelu"), parts.clip_tokenizer(), parts.clip_tokenizer(), unet, scheduler,
        add_watermarker=False,
    )  # fmt: skip


def deterministic(pipe: StableDiffusionXLPipeline) -> None:
    """The sampler that Palate walks with."""
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
