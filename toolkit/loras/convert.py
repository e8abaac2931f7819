"""Rename a LoRA for another program: the same change of the weights, the same strength, the metadata carried over.

Also which programs read a run's files: ComfyUI takes diffusers' names of some families, and of others only its own.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from toolkit import lora_file
from toolkit.loras import families, keys, writing
from toolkit.loras.family import Family, Spelling
from toolkit.loras.reading import Lora, read

Target = Literal["diffusers", "comfyui"]
PRECISIONS = ("bfloat16", "float16", "float32")


def convert(path: Path, target: Target, output: Path, *, family: str = "", dtype: str = "") -> Family:
    """Write `path` for `target` to `output` and return its family. Without `dtype` the file's own precision stays.

    alpha is folded into the weights and diffusers' `lora_adapter_metadata` is left out: what diffusers reads from the
    weights alone is then right. Raises UsageError.
    """
    lora = read(path, family)
    spelling = spelling_for(lora.family, target)
    metadata = {name: value for name, value in lora.metadata.items() if name != "lora_adapter_metadata"}
    writing.write(output, lora.updates, lora.family, spelling, dtype=dtype or precision_of(lora), metadata=metadata)
    return lora.family


def for_comfyui(path: Path) -> Path | None:
    """Write `<name>_comfyui.safetensors` beside a diffusers LoRA that names its family, and return it.

    None where ComfyUI reads the first file as it is, or the family is unknown. Raises UsageError.
    """
    family = families.named_in(lora_file.read_metadata(path))
    if family is None or serves_both(family):
        return None
    output = path.with_name(f"{path.stem}_comfyui.safetensors")
    convert(path, "comfyui", output, family=family.name)
    return output


def serves_both(family: Family) -> bool:
    """Whether ComfyUI knows diffusers' name of every layer that the published models have."""
    layers = {name for model in keys.layers(family.name).values() for name in model}
    return {family.diffusers.stem(name) for name in layers} <= keys.comfyui(family.name)


@cache
def readers(base: str) -> tuple[str, ...]:
    """Who reads each file of a run on `base`, in the order of `RunFolder.lora_files`."""
    family = families.FAMILIES.get(base)
    return ("diffusers and ComfyUI",) if family and serves_both(family) else ("diffusers", "ComfyUI")


def precision_of(lora: Lora) -> str:
    """The precision that a LoRA has, where it is one that files are written in."""
    return next((name for name in lora.dtypes if name in PRECISIONS), "float32")


def spelling_for(family: Family, target: Target) -> Spelling:
    """How `target` wants a family's layers written."""
    return family.diffusers if target == "diffusers" else family.comfyui
