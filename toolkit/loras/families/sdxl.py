"""Stable Diffusion XL: as 1.5, with three levels and deeper attention."""

from toolkit.loras.families import _unet
from toolkit.loras.family import KOHYA, KOHYA_ORIGINAL, UNET, Family
from toolkit.loras.names import Renaming

FAMILY = Family(
    name="sdxl",
    title="Stable Diffusion XL",
    architecture="stable-diffusion-xl-v1-base",
    base_model_version="sdxl_base_v1-0",
    renaming=Renaming(_unet.rules(3, attention_down={1, 2}, attention_up={0, 1})),
    diffusers=UNET,
    comfyui=KOHYA,
    diffusers_reads={KOHYA: r"add_embedding\..*", KOHYA_ORIGINAL: ""},
    also_known_as=frozenset({"sdxl_1.0"}),
)
