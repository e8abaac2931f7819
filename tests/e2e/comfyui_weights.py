"""Runs inside ComfyUI's own source: random weights of real width and few blocks, as files that its loaders recognise.

`FAMILY FOLDER` writes the network, and its VAE, into a `models` folder under the names given after them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from comfyui_probe import FLUX, SDXL, WAN, build

NETWORKS = {
    "flux": ("Flux", {**FLUX, "depth": 1, "depth_single_blocks": 1}),
    "sdxl": ("Segmind_Vega", {  # the smallest that ComfyUI takes for SDXL
        **SDXL, "transformer_depth": [0, 0, 1, 1, 2, 2], "transformer_depth_middle": -1,
        "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    }),
    "wan": ("WAN21_T2V", {**WAN, "dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 2}),
}  # fmt: skip
PICTURE_VAE = {
    "double_z": True, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip
VIDEO_VAE = {
    "dim": 16, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": [],
    "temperal_downsample": [False, True, True],
}  # fmt: skip


def vae(family: str) -> torch.nn.Module:
    """Names and sizes of the VAE; the video one is narrower, which its loader reads off the file."""
    import comfy.ldm.models.autoencoder
    import comfy.ldm.wan.vae

    with torch.device("meta"):
        if family == "wan":
            return comfy.ldm.wan.vae.WanVAE(**VIDEO_VAE)
        channels = 4 if family == "sdxl" else 16
        settings = {"ddconfig": {**PICTURE_VAE, "z_channels": channels}, "embed_dim": channels}
        if channels == 16:  # without the convolutions around the latents
            regulariser = {"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"}
            parts = [{"target": f"comfy.ldm.modules.diffusionmodules.model.{each}", "params": settings["ddconfig"]}
                     for each in ("Encoder", "Decoder")]  # fmt: skip
            return comfy.ldm.models.autoencoder.AutoencodingEngine(
                regularizer_config=regulariser, encoder_config=parts[0], decoder_config=parts[1]
            )
        return comfy.ldm.models.autoencoder.AutoencoderKL(**settings)


def drawn(weights: dict[str, torch.Tensor], prefix: str = "") -> dict[str, torch.Tensor]:
    """Small random matrices, scales of one, other vectors of zero; in half precision."""
    generator = torch.Generator().manual_seed(3)
    made = {}
    for name, weight in weights.items():
        if weight.ndim > 1 and "gamma" not in name:
            fan_in = max(1, weight[0].numel())
            value = torch.randn(weight.shape, generator=generator) * min(0.7 / fan_in**0.5, 0.5)
        else:
            value = torch.full(weight.shape, float(not name.endswith("bias")))
        made[prefix + name] = value.half()
    return made


def write(family: str, network: str, other: str = "") -> None:
    """network: the file, with the VAE in it where no second is named."""
    from safetensors.torch import save_file

    kind, settings = NETWORKS[family]
    weights = build(kind, settings).state_dict()
    whole = not other
    ours = {name: weight for name, weight in weights.items() if name.startswith("diffusion_model.")}
    tensors = drawn(
        {name if whole else name.removeprefix("diffusion_model."): weight for name, weight in ours.items()},
        "model." if whole else "",
    )
    autoencoder = drawn(dict(vae(family).state_dict()), "first_stage_model." if whole else "")
    for file, content in ((network, {**tensors, **(autoencoder if whole else {})}), (other, autoencoder)):
        if file:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            save_file(content, file)
    print(json.dumps({"parameters": sum(weight.numel() for weight in tensors.values())}))


if __name__ == "__main__":
    arguments, sys.argv = sys.argv[1:], [sys.argv[0], "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    write(*arguments)
