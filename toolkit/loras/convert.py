"""Rename a LoRA for another program: the same change of the weights, the same strength, the metadata carried over."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from toolkit.errors import UsageError
from toolkit.loras import writing
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
