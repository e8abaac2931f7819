"""Runs inside ComfyUI's own source (PYTHONPATH=$COMFYUI_PATH): what does it make of a LoRA file?

`version` prints the release; `tables` every layer name that it takes for the published models of the families it has;
`apply FAMILY FILE OUTPUT` builds a tiny model of the family, lets ComfyUI load and apply the file, writes the change of
every weight and prints the unmatched keys.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from typing import Any

import torch

SD = {
    "use_checkpoint": False, "image_size": 32, "in_channels": 4, "out_channels": 4, "use_spatial_transformer": True,
    "legacy": False, "use_temporal_attention": False, "use_temporal_resblock": False,
}  # fmt: skip
SD15 = {
    **SD, "adm_in_channels": None, "model_channels": 320, "num_res_blocks": [2] * 4, "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1] * 6 + [0] * 2, "transformer_depth_output": [1] * 9 + [0] * 3, "context_dim": 768,
    "transformer_depth_middle": 1, "use_linear_in_transformer": False, "num_heads": 8,
}  # fmt: skip
SDXL = {
    **SD, "num_classes": "sequential", "adm_in_channels": 2816, "model_channels": 320, "num_res_blocks": [2] * 3,
    "channel_mult": [1, 2, 4], "transformer_depth": [0, 0, 2, 2, 10, 10], "transformer_depth_middle": 10,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "context_dim": 2048, "num_head_channels": 64,
    "use_linear_in_transformer": True,
}  # fmt: skip
FLUX = {
    "image_model": "flux", "in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 768,
    "context_in_dim": 4096, "hidden_size": 3072, "mlp_ratio": 4.0, "num_heads": 24, "depth": 19,
    "depth_single_blocks": 38, "axes_dim": [16, 56, 56], "theta": 10000, "qkv_bias": True, "guidance_embed": True,
    "txt_ids_dims": [],
}  # fmt: skip
FLUX2 = {
    **FLUX, "image_model": "flux2", "in_channels": 128, "out_channels": 128, "patch_size": 1, "vec_in_dim": None,
    "context_in_dim": 15360, "hidden_size": 6144, "mlp_ratio": 3.0, "num_heads": 48, "depth": 8,
    "depth_single_blocks": 48, "axes_dim": [32, 32, 32, 32], "theta": 2000, "qkv_bias": False, "ops_bias": False,
    "global_modulation": True, "mlp_silu_act": True, "txt_ids_dims": [3],
}  # fmt: skip
SD3 = {
    "in_channels": 16, "patch_size": 2, "out_channels": 16, "depth": 24, "adm_in_channels": 2048, "input_size": None,
    "num_patches": 36864, "pos_embed_max_size": 192, "pos_embed_scaling_factor": None,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 1536}},
}  # fmt: skip
SD35 = {**SD3, "qk_norm": "rms", "x_block_self_attn_layers": list(range(13)), "pos_embed_max_size": 384}
SD35L = {
    **SD35, "depth": 38, "x_block_self_attn_layers": [],
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 2432}},
}  # fmt: skip
WAN = {"image_model": "wan2.1", "model_type": "t2v", "in_dim": 16, "dim": 5120, "ffn_dim": 13824, "num_heads": 40}
HUNYUAN = {"image_model": "hydit1", "depth": 40, "hidden_size": 1408, "mlp_ratio": 4.3637, "num_heads": 16}
QWEN = {"image_model": "qwen_image", "num_layers": 60}
Z_IMAGE = {
    "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 3840, "n_layers": 30, "n_heads": 30,
    "n_kv_heads": 30, "cap_feat_dim": 2560, "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512],
    "ffn_dim_multiplier": 8 / 3, "qk_norm": True, "z_image_modulation": True, "pad_tokens_multiple": 32,
}  # fmt: skip
DEMO = {
    **FLUX, "in_channels": 4, "out_channels": 4, "vec_in_dim": 128, "context_in_dim": 128, "hidden_size": 128,
    "num_heads": 4, "depth": 2, "depth_single_blocks": 6, "axes_dim": [8, 12, 12], "guidance_embed": False,
}  # fmt: skip
PUBLISHED = {
    "demo": {"palate-demo": ("FluxSchnell", DEMO)},
    "flux": {"FLUX.1": ("Flux", FLUX)},
    "flux2": {"FLUX.2-dev": ("Flux2", FLUX2)},
    "hunyuan_dit": {
        "HunyuanDiT-v1.1": ("HunyuanDiT1", {**HUNYUAN, "size_cond": True, "use_style_cond": True}),
        "HunyuanDiT-v1.2": ("HunyuanDiT", {**HUNYUAN, "image_model": "hydit"}),
    },
    "qwen_image": {"Qwen-Image": ("QwenImage", QWEN)},
    "sd15": {"stable-diffusion-v1-5": ("SD15", SD15)},
    "sd3": {
        "stable-diffusion-3-medium": ("SD3", SD3), "stable-diffusion-3.5-medium": ("SD3", SD35),
        "stable-diffusion-3.5-large": ("SD3", SD35L),
    },
    "sdxl": {"stable-diffusion-xl-base-1.0": ("SDXL", SDXL)},
    "wan": {
        "Wan2.1-T2V-14B": ("WAN21_T2V", {**WAN, "num_layers": 40}),
        "Wan2.1-I2V-14B": ("WAN21_I2V", {**WAN, "num_layers": 40, "model_type": "i2v", "in_dim": 36}),
    },
    "z_image": {"Z-Image": ("ZImage", Z_IMAGE)},
}  # fmt: skip
TINY = {
    "demo": ("FluxSchnell", DEMO),
    "flux": ("Flux", {
        **FLUX, "hidden_size": 64, "num_heads": 2, "depth": 2, "depth_single_blocks": 2, "vec_in_dim": 32,
        "context_in_dim": 48, "axes_dim": [8, 12, 12],
    }),
    "flux2": ("Flux2", {
        **FLUX2, "in_channels": 16, "out_channels": 16, "context_in_dim": 48, "hidden_size": 64, "num_heads": 2,
        "depth": 2, "depth_single_blocks": 2, "axes_dim": [8, 8, 8, 8],
    }),
    "hunyuan_dit": ("HunyuanDiT", {
        **HUNYUAN, "image_model": "hydit", "depth": 4, "hidden_size": 64, "num_heads": 4, "mlp_ratio": 4.0,
        "text_states_dim": 48, "text_states_dim_t5": 32, "text_len": 5, "text_len_t5": 6,
    }),
    "qwen_image": ("QwenImage", {
        **QWEN, "num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 32, "joint_attention_dim": 48,
        "axes_dims_rope": (8, 12, 12),
    }),
    "sd15": ("SD15", {**SD15, "model_channels": 32, "context_dim": 48}),
    "sd3": ("SD3", {
        **SD35, "depth": 2, "adm_in_channels": 32, "x_block_self_attn_layers": [0], "pos_embed_max_size": 16,
        "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 48, "out_features": 128}},
    }),
    "sdxl": ("SDXL", {
        **SDXL, "model_channels": 32, "context_dim": 48, "adm_in_channels": 96, "num_head_channels": 16,
        "transformer_depth": [0, 0, 1, 1, 2, 2], "transformer_depth_middle": 2,
        "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    }),
    "wan": ("WAN21_I2V", {
        **WAN, "model_type": "i2v", "in_dim": 36, "dim": 64, "ffn_dim": 96, "num_heads": 2, "num_layers": 2,
        "text_dim": 48, "freq_dim": 32,
    }),
    "z_image": ("ZImage", {
        **Z_IMAGE, "in_channels": 4, "dim": 1024, "n_layers": 1, "n_heads": 32, "n_kv_heads": 32, "cap_feat_dim": 48,
        "axes_dims": [8, 12, 12], "axes_lens": [32, 32, 32], "multiple_of": 1,
    }),
}  # fmt: skip


def has(kind: str) -> bool:
    """Whether this release has a model class of that name."""
    import comfy.supported_models

    return hasattr(comfy.supported_models, kind)


def accepted(settings: dict[str, Any]) -> dict[str, Any]:
    """Without the setting that newer releases require and older refuse."""
    from comfy.ldm.flux.model import FluxParams

    known = "txt_ids_dims" in {field.name for field in fields(FluxParams)}
    return {name: value for name, value in settings.items() if known or name != "txt_ids_dims"}


def build(kind: str, settings: dict[str, Any], device: str = "meta") -> Any:
    """The model; on the meta device it has names and sizes and no numbers."""
    import comfy.supported_models

    config = getattr(comfy.supported_models, kind)({**accepted(settings), "dtype": torch.float32})
    return config.get_model({}, device=torch.device(device))


def names(kind: str, settings: dict[str, Any]) -> list[str]:
    """Every layer name that ComfyUI maps to a matrix of the model, once it recognised the model by its weights."""
    import comfy.lora
    import comfy.model_detection

    weights = build(kind, settings).state_dict()
    recognised = comfy.model_detection.model_config_from_unet(weights, "diffusion_model.")
    if type(recognised).__name__ != kind:
        raise SystemExit(f"ComfyUI takes the weights of {kind} for {type(recognised).__name__}.")
    recognised.unet_config.update(accepted(settings))  # of FLUX's kind it knows the published widths only
    model = recognised.get_model({}, device=torch.device("meta"))
    known = comfy.lora.model_lora_keys_unet(model, {})
    matrices = {name for name, weight in weights.items() if name.endswith(".weight") and weight.ndim > 1}
    return sorted(name for name, target in known.items() if weight_of(target) in matrices)


def weight_of(target: Any) -> str:
    """The weight behind a target of ComfyUI's: a name, or a name with the rows and the function that change it."""
    return target if isinstance(target, str) else target[0]


def version() -> dict[str, str]:
    import comfyui_version

    return {"version": comfyui_version.__version__}


def tables() -> dict[str, dict[str, list[str]]]:
    return {
        family: {model: names(kind, settings) for model, (kind, settings) in models.items()}
        for family, models in PUBLISHED.items()
        if has(TINY[family][0])
    }


def apply(family: str, file: str, output: str) -> dict[str, list[str]]:
    """Unmatched keys; every patched weight's change, applied to a weight of zeros, goes to `output`."""
    import comfy.lora
    import comfy.utils
    from safetensors.torch import save_file

    model = build(*TINY[family])
    weights = model.state_dict()
    lora = comfy.utils.load_torch_file(file, safe_load=True)
    patches = comfy.lora.load_lora(lora, comfy.lora.model_lora_keys_unet(model, {}), log_missing=False)
    patches = {target: patch for target, patch in patches.items() if weight_of(target) in weights}
    used = {key for patch in patches.values() for key in patch.loaded_keys}
    changes: dict[str, torch.Tensor] = {}
    for target, patch in patches.items():
        name, offset, function = (target, None, None) if isinstance(target, str) else (*target, None, None)[:3]
        weight = changes.setdefault(name, torch.zeros(weights[name].shape))
        comfy.lora.calculate_weight([(1.0, patch, 1.0, offset, function)], weight, name)
    save_file({name.removeprefix("diffusion_model."): weight for name, weight in changes.items()}, output)
    return {"unmatched": sorted(set(lora) - used)}


if __name__ == "__main__":
    arguments, sys.argv = sys.argv[1:], [sys.argv[0], "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    answers = {"version": version, "tables": tables, "apply": apply}
    print(json.dumps(answers[arguments[0]](*arguments[1:])))
