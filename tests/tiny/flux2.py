"""FLUX.2 [klein] base in small."""

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from tiny import parts

SIZE = (32, 16)
GUIDANCE = {"guidance_scale": 4.0}
SETTINGS = {"max_tokens": 32}
OPTIONS = {"max_sequence_length": 32}
LEFT_OUT = ()


def build() -> Flux2KleinPipeline:
    transformer = Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=3 * 16, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    vae = AutoencoderKLFlux2(**parts.resolutions(2), latent_channels=4, sample_size=16)
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 1.5)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    tokenizer = parts.qwen_tokenizer()
    # the pipeline reads the states behind layers 9, 18 and 27
    return Flux2KleinPipeline(scheduler, vae, parts.qwen_text(tokenizer, layers=28), tokenizer, transformer)


def to_pipeline(noise: torch.Tensor) -> torch.Tensor:
    """Patches of 2 x 2, as the pipeline wants latents."""
    return noise
