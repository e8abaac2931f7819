"""HunyuanDiT 1.1 in small."""

from diffusers import DDIMScheduler, DDPMScheduler, HunyuanDiT2DModel, HunyuanDiTPipeline
from tiny import parts

SIZE = (64, 32)  # its pipeline takes 8 pixels to one latent for granted
GUIDANCE = {"guidance_scale": 4.0}
OPTIONS = {"use_resolution_binning": False}
LEFT_OUT = ("norm1.linear",)  # what the timestep modulates


def build() -> HunyuanDiTPipeline:
    transformer = HunyuanDiT2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, patch_size=2, sample_size=8, hidden_size=16,
        num_layers=4, mlp_ratio=2.0, cross_attention_dim=16, cross_attention_dim_t5=16, pooled_projection_dim=16,
    )  # fmt: skip
    scheduler = DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.03, prediction_type="v_prediction",
        steps_offset=1, clip_sample=False, timestep_spacing="leading",
    )  # fmt: skip
    return HunyuanDiTPipeline(
        parts.autoencoder(levels=4, scaling_factor=0.13025), parts.bert_text(), parts.bert_tokenizer(), transformer,
        scheduler, None, None, False, parts.t5_text(), parts.t5_tokenizer(256),
    )  # fmt: skip


def deterministic(pipe: HunyuanDiTPipeline) -> None:
    """The sampler that Palate walks with."""
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
