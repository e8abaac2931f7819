"""The embedded demo base: a small network of FLUX.1's class; ComfyUI plays it through Palate's nodes, named alike."""

from dataclasses import replace

from toolkit.loras.families import flux

FAMILY = replace(
    flux.FAMILY,
    name="demo",
    title="Palate's demo base",
    architecture="palate-demo",
    base_model_version="palate_demo",
    diffusers_reads={},
    also_known_as=frozenset(),
)
