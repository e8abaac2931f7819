"""Wan 2.1 in small."""

from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from tiny import parts
from transformers import UMT5Config, UMT5EncoderModel

SIZE = (32, 16)
GUIDANCE = {"guidance_scale": 4.0}
SETTINGS = {"frames": 5}
LEFT_OUT = ()


def build() -> WanPipeline:
    tokenizer = parts.t5_tokenizer()
    text = UMT5EncoderModel(
        UMT5Config(d_model=16, d_ff=32, d_kv=8, num_layers=1, num_heads=2, vocab_size=len(tokenizer))
    )
    transformer = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16, freq_dim=16,
        ffn_dim=32, num_layers=2, rope_max_seq_len=32,
    )  # fmt: skip
    vae = AutoencoderKLWan(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1], num_res_blocks=1, temperal_downsample=[True, True],
        latents_mean=[-0.8, 0.1, 0.4, -0.2], latents_std=[2.8, 1.5, 0.7, 1.1], scale_factor_spatial=4,
    )  # fmt: skip
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return WanPipeline(tokenizer, text, vae, scheduler, transformer)


def deterministic(pipe: WanPipeline) -> None:
    """The sampler that Palate walks with."""
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=pipe.scheduler.config.flow_shift)
