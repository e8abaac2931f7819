"""Stable Diffusion 1.5: kohya's names over diffusers' blocks; both loaders read them, alpha included."""

from toolkit.loras.families import _unet
from toolkit.loras.family import KOHYA, UNET, Family
from toolkit.loras.names import Renaming

FAMILY = Family(
    name="sd15",
    title="Stable Diffusion 1.5",
    architecture="stable-diffusion-v1",
    base_model_version="sd_v1",
    renaming=Renaming(_unet.rules(4, attention_down={0, 1, 2}, attention_up={1, 2, 3})),
    diffusers=UNET,
    comfyui=KOHYA,
    diffusers_reads={KOHYA: ""},
    also_known_as=frozenset({"sd_1.5", "sd1.5"}),
)
