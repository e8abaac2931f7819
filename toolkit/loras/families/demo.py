"""The embedded demo base: a small network of FLUX.1's class, for diffusers only; ComfyUI has no model to play it on."""

from dataclasses import replace

from toolkit.loras.families import flux

FAMILY = replace(
    flux.FAMILY,
    name="demo",
    title="Palate's demo base",
    architecture="palate-demo",
    base_model_version="palate_demo",
    comfyui=None,
    diffusers_reads={},
    also_known_as=frozenset(),
)
