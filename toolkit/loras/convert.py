"""Rename a LoRA for another program: the same change of the weights, the same strength, the metadata carried over.

Also which programs read a run's files: ComfyUI takes diffusers' names of some families, and of others only its own.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from toolkit.errors import UsageError
from toolkit.loras import keys, writing
from toolkit.loras.families import FAMILIES
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
    _write(lora, target, output, dtype or precision_of(lora))
    return lora.family


def for_comfyui(path: Path) -> Path | None:
    """Write `<name>_comfyui.safetensors` beside a diffusers LoRA, and return it.

    None where ComfyUI reads the first file as it is, or has no such model. Raises UsageError.
    """
    lora = read(path)
    if lora.family.comfyui is None or serves_both(lora.family):
        return None
    output = path.with_name(f"{path.stem}_comfyui.safetensors")
    _write(lora, "comfyui", output, precision_of(lora))
    return output


def serves_both(family: Family) -> bool:
    """Whether ComfyUI knows diffusers' name of every layer that the published models have."""
    layers = {name for model in keys.layers(family.name).values() for name in model}
    return {family.diffusers.stem(name) for name in layers} <= keys.comfyui(family.name)


@cache
def readers(base: str) -> tuple[str, ...]:
    """Who reads each file of a run on `base`, in the order of `RunFolder.lora_files`."""
    family = FAMILIES.get(base)
    if family and serves_both(family):
        return ("diffusers and ComfyUI",)
    return ("diffusers",) if family and family.comfyui is None else ("diffusers", "ComfyUI")


def _write(lora: Lora, target: Target, output: Path, dtype: str) -> None:
    metadata = {name: value for name, value in lora.metadata.items() if name != "lora_adapter_metadata"}
    spelling = spelling_for(lora.family, target)
    writing.write(output, lora.updates, lora.family, spelling, dtype=dtype, metadata=metadata)


def precision_of(lora: Lora) -> str:
    """The precision that a LoRA has, where it is one that files are written in."""
    return next((name for name in lora.dtypes if name in PRECISIONS), "float32")


def spelling_for(family: Family, target: Target) -> Spelling:
    """How `target` wants a family's layers written. Raises UsageError where it has no such model."""
    spelling = family.diffusers if target == "diffusers" else family.comfyui
    if spelling is None:
        raise UsageError(
            f"ComfyUI has no model for {family.title}.", action="Convert with --to diffusers, or use `palate sample`."
        )
    return spelling
