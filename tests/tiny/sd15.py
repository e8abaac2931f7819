"""Stable Diffusion 1.5 in small."""

from diffusers import DDIMScheduler, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tiny import parts

SIZE = (32, 16)
GUIDANCE = {"guidance_scale": 4.0}
LEFT_OUT = ("time_emb_proj",)


def build() -> StableDiffusionPipeline:
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, attention_head_dim=4, cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    scheduler = PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, steps_offset=1,
        set_alpha_to_one=False,
    )  # fmt: skip
    return StableDiffusionPipeline(
        parts.autoencoder(scaling_factor=0.18215), parts.clip_text(), parts.clip_tokenizer(), unet, scheduler, None,
        None, requires_safety_checker=False,
    )  # fmt: skip


def deterministic(pipe: StableDiffusionPipeline) -> None:
    """The sampler that Palate walks with."""
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
