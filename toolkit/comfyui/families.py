"""How each family is drawn with core's nodes: its files, its latents, its noise levels, its guidance.

Samplers and shifts follow the family's own pipeline: Euler over the levels that training rolls out over. `simple` gives
1, 1 - 1/n, … 1/n before the shift, `normal` the spacing of a scheduler that is handed no levels, `ddim_uniform` that of
a DDPM family with timesteps counted from 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from comfy_nodes.demo_world.header import FILE_NAME
from toolkit.comfyui.graph import Graph, Socket
from toolkit.errors import UsageError, did_you_mean

Files = Mapping[str, str]  # the part of a base → its file's name in ComfyUI's folders
Size = tuple[int, int, int]  # width and height in pixels, frames


@dataclass(frozen=True)
class Loaded:
    """What every graph begins with."""

    model: Socket
    clip: Socket
    vae: Socket


@dataclass(frozen=True)
class Family:
    """One family in ComfyUI. `files` are the published ones; `steps` and `guidance_scale` serve where none are known.

    embedded: guidance is an input of the network, and the sampler runs at CFG 1. fps: a video's, 0 for pictures.
    """

    title: str
    files: Files
    folders: Mapping[str, str]
    load: Callable[[Graph, Files], Loaded]
    latent: str
    size: Size
    steps: int
    guidance_scale: float
    scheduler: str = "simple"
    shift: Callable[[Graph, Socket, Size], Socket] | None = None
    embedded: bool = False
    fps: int = 0


def get(name: str) -> Family:
    """The family of that name. Raises UsageError for one that core's nodes do not draw."""
    if name not in FAMILIES:
        raise UsageError(f"There is no ComfyUI workflow for `{name}`.", action=did_you_mean(name, FAMILIES))
    return FAMILIES[name]


def _checkpoint(graph: Graph, files: Files) -> Loaded:
    loaded = graph.add("CheckpointLoaderSimple", ckpt_name=files["model"])
    return Loaded(loaded["MODEL"], loaded["CLIP"], loaded["VAE"])


def _demo(graph: Graph, files: Files) -> Loaded:
    loaded = graph.add("PalateDemoWorldLoader", model_name=files["model"])
    return Loaded(loaded["model"], loaded["clip"], loaded["vae"])


def _parts(graph: Graph, files: Files, clip: str, **inputs: str) -> Loaded:
    """Network, text encoders and VAE from a file each."""
    return Loaded(
        graph.add("UNETLoader", unet_name=files["model"])["MODEL"],
        graph.add(clip, **inputs)["CLIP"],
        graph.add("VAELoader", vae_name=files["vae"])["VAE"],
    )


def _flux(graph: Graph, files: Files) -> Loaded:
    return _parts(graph, files, "DualCLIPLoader", clip_name1=files["t5"], clip_name2=files["clip"], type="flux")


def _qwen_image(graph: Graph, files: Files) -> Loaded:
    return _parts(graph, files, "CLIPLoader", clip_name=files["text"], type="qwen_image")


def _sd3(graph: Graph, files: Files) -> Loaded:
    network = graph.add("CheckpointLoaderSimple", ckpt_name=files["model"])
    names = {f"clip_name{number}": files[part] for number, part in enumerate(("clip_l", "clip_g", "t5"), 1)}
    return Loaded(network["MODEL"], graph.add("TripleCLIPLoader", **names)["CLIP"], network["VAE"])


def _wan(graph: Graph, files: Files) -> Loaded:
    return _parts(graph, files, "CLIPLoader", clip_name=files["text"], type="wan")


def _constant(shift: float) -> Callable[[Graph, Socket, Size], Socket]:
    return lambda graph, model, size: graph.add("ModelSamplingSD3", model=model, shift=shift)["MODEL"]


def _flux_shift(graph: Graph, model: Socket, size: Size) -> Socket:
    """Its log rises with the number of tokens, 256 to 4096, as in the family's pipeline."""
    return graph.add("ModelSamplingFlux", model=model, width=size[0], height=size[1])["MODEL"]


def _qwen_shift(graph: Graph, model: Socket, size: Size) -> Socket:
    """Its log rises from 0.5 to 0.9 over 256 to 8192 tokens of 16 x 16 pixels, as in the pipeline's scheduler."""
    tokens = size[0] * size[1] / 256
    shift = round(math.exp(0.5 + (0.9 - 0.5) * (tokens - 256) / (8192 - 256)), 2)
    return graph.add("ModelSamplingAuraFlow", model=model, shift=shift)["MODEL"]


FAMILIES = {
    "demo": Family(
        title="Demo World", files={"model": FILE_NAME}, folders={"model": "palate"}, load=_demo,
        latent="PalateDemoWorldLatent", size=(64, 64, 1), steps=20, guidance_scale=2.5,
    ),
    "flux": Family(
        title="FLUX.1",
        files={"model": "flux1-dev.safetensors", "t5": "t5xxl_fp16.safetensors", "clip": "clip_l.safetensors",
               "vae": "ae.safetensors"},
        folders={"model": "diffusion_models", "t5": "text_encoders", "clip": "text_encoders", "vae": "vae"},
        load=_flux, latent="EmptySD3LatentImage", size=(1024, 1024, 1), steps=25, guidance_scale=3.5,
        shift=_flux_shift, embedded=True,
    ),
    "qwen_image": Family(
        title="Qwen-Image",
        files={"model": "qwen_image_fp8_e4m3fn.safetensors", "text": "qwen_2.5_vl_7b_fp8_scaled.safetensors",
               "vae": "qwen_image_vae.safetensors"},
        folders={"model": "diffusion_models", "text": "text_encoders", "vae": "vae"},
        load=_qwen_image, latent="EmptySD3LatentImage", size=(1024, 1024, 1), steps=25, guidance_scale=4.0,
        shift=_qwen_shift,
    ),
    "sd15": Family(
        title="Stable Diffusion 1.5", files={"model": "v1-5-pruned-emaonly.safetensors"},
        folders={"model": "checkpoints"}, load=_checkpoint, latent="EmptyLatentImage", size=(512, 512, 1), steps=25,
        guidance_scale=7.5, scheduler="ddim_uniform",
    ),
    "sd3": Family(
        title="Stable Diffusion 3.5",
        files={"model": "sd3.5_medium.safetensors", "clip_l": "clip_l.safetensors", "clip_g": "clip_g.safetensors",
               "t5": "t5xxl_fp16.safetensors"},
        folders={"model": "checkpoints", "clip_l": "text_encoders", "clip_g": "text_encoders", "t5": "text_encoders"},
        load=_sd3, latent="EmptySD3LatentImage", size=(1024, 1024, 1), steps=25, guidance_scale=4.5,
        scheduler="normal", shift=_constant(3.0),
    ),
    "sdxl": Family(
        title="Stable Diffusion XL", files={"model": "sd_xl_base_1.0.safetensors"}, folders={"model": "checkpoints"},
        load=_checkpoint, latent="EmptyLatentImage", size=(1024, 1024, 1), steps=25, guidance_scale=5.0,
        scheduler="ddim_uniform",
    ),
    "wan": Family(
        title="Wan 2.1",
        files={"model": "wan2.1_t2v_1.3B_fp16.safetensors", "text": "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
               "vae": "wan_2.1_vae.safetensors"},
        folders={"model": "diffusion_models", "text": "text_encoders", "vae": "vae"},
        load=_wan, latent="EmptyHunyuanLatentVideo", size=(832, 480, 33), steps=25, guidance_scale=5.0,
        scheduler="normal", shift=_constant(3.0), fps=16,
    ),
}  # fmt: skip
