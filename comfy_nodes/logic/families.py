"""Which model ComfyUI has loaded, in the names that LoRA headers use."""

from __future__ import annotations

# ComfyUI's class of the loaded model → family. BaseModel, which all others derive from, is SD 1.5 only when it is the
# class itself.
CLASSES = {
    "BaseModel": "sd15",
    "CogVideoX": "cogvideox",
    "DemoWorld": "palate-demo",
    "Flux": "flux",
    "Flux2": "flux2",
    "HunyuanDiT": "hunyuan_dit",
    "Lumina2": "z_image",
    "QwenImage": "qwen_image",
    "SD3": "sd3",
    "SDXL": "sdxl",
    "WAN21": "wan",
}
TITLES = {
    "cogvideox": "CogVideoX", "palate-demo": "Palate's Demo World", "flux": "FLUX.1", "flux2": "FLUX.2",
    "hunyuan_dit": "HunyuanDiT", "qwen_image": "Qwen-Image", "sd15": "Stable Diffusion 1.5",
    "sd3": "Stable Diffusion 3", "sdxl": "Stable Diffusion XL", "wan": "Wan", "z_image": "Z-Image",
}  # fmt: skip


def family_of(model: object) -> str:
    """The family of `model.model`, by the nearest of its classes; "" for one that is not known here."""
    names = [each.__name__ for each in type(model).__mro__]
    known = [name for name in names if name in CLASSES and (name != "BaseModel" or names[0] == "BaseModel")]
    return CLASSES[known[0]] if known else ""


def title(family: str) -> str:
    """Its name on screen."""
    return TITLES.get(family, family)
