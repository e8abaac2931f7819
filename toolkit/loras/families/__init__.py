"""Every model family whose LoRA files are understood: one file each, and the table."""

from __future__ import annotations

import json
from collections.abc import Mapping

from toolkit.errors import UsageError, did_you_mean
from toolkit.loras.families import (
    cogvideox,
    demo,
    flux,
    flux2,
    hunyuan_dit,
    qwen_image,
    sd3,
    sd15,
    sdxl,
    wan,
    z_image,
)
from toolkit.loras.family import Family

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY
    for module in (cogvideox, demo, flux, flux2, hunyuan_dit, qwen_image, sd3, sd15, sdxl, wan, z_image)
}


def get(name: str) -> Family:
    """The family of this name. Raises UsageError with the nearest spelling."""
    if name not in FAMILIES:
        raise UsageError(f"There is no model family `{name}`.", action=did_you_mean(name, FAMILIES))
    return FAMILIES[name]


def named_in(metadata: Mapping[str, str]) -> Family | None:
    """The family that a file's metadata names, in Palate's, kohya's or modelspec's words; None when it is silent."""
    try:
        own = json.loads(metadata.get("palate", "{}")).get("family", "")
    except (ValueError, AttributeError):
        own = ""
    version = metadata.get("ss_base_model_version", "")
    architecture = metadata.get("modelspec.architecture", "").removesuffix("/lora")
    for family in FAMILIES.values():
        words = {family.name, family.base_model_version, family.architecture, *family.also_known_as}
        if words & {own, version, architecture} - {""}:
            return family
    return None
