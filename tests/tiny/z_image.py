"""Z-Image in small."""

from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from tiny import parts

SIZE = (32, 16)
GUIDANCE = {"guidance_scale": 3.0}
SCALE = 4.0  # the pipeline counts from 0
SETTINGS = {"max_tokens": 48}
OPTIONS = {"max_sequence_length": 48}
LEFT_OUT = ("adaLN_modulation.0",)


def build() -> ZImagePipeline:
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16,
        axes_dims=[4, 6, 6], axes_lens=[256, 16, 16],
    )  # fmt: skip
    tokenizer = parts.qwen_tokenizer()
    vae = parts.autoencoder(scaling_factor=0.36, shift_factor=0.11)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=6.0)
    return ZImagePipeline(scheduler, vae, parts.qwen_text(tokenizer).model, tokenizer, transformer)
