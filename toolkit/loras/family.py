"""What a model family is to a LoRA file: its names, its spelling in ComfyUI, and who reads which spelling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from toolkit.loras.names import Renaming

Style = Literal["diffusers", "original"]


@dataclass(frozen=True)
class Spelling:
    """How a LoRA file writes a layer: `prefix` + name + `.` + `down`/`up` + `.weight`.

    `flat` writes the name's dots as underscores, as kohya does; `alpha` adds a tensor `.alpha` that equals the rank.
    """

    prefix: str
    names: Style = "diffusers"
    flat: bool = False
    down: str = "lora_A"
    up: str = "lora_B"
    alpha: bool = False

    def stem(self, name: str) -> str:
        """A layer's name as the file writes it, without the matrix."""
        return self.prefix + (name.replace(".", "_") if self.flat else name)


KOHYA = Spelling("lora_unet_", flat=True, down="lora_down", up="lora_up", alpha=True)
KOHYA_ORIGINAL = Spelling("lora_unet_", "original", flat=True, down="lora_down", up="lora_up", alpha=True)
ONETRAINER = Spelling("lora_transformer_", flat=True, down="lora_down", up="lora_up", alpha=True)
COMFYUI = Spelling("diffusion_model.", "original")
COMFYUI_DIFFUSERS = Spelling("diffusion_model.")
TRANSFORMER = Spelling("transformer.")
UNET = Spelling("unet.")
PEFT_ORIGINAL = Spelling("base_model.model.", "original")


@dataclass(frozen=True)
class Family:
    """One model family. `diffusers` and `comfyui` are what is written for each.

    `diffusers_reads`: what else diffusers takes, with an expression for the layers that it misses or misreads in that
    spelling. `architecture` and `base_model_version` are the strings that modelspec and kohya's metadata use.
    """

    name: str
    title: str
    architecture: str
    base_model_version: str
    renaming: Renaming
    diffusers: Spelling
    comfyui: Spelling
    diffusers_reads: Mapping[Spelling, str] = field(default_factory=dict)
    also_known_as: frozenset[str] = field(default_factory=frozenset)
    reads_alpha: bool = True  # diffusers honours `.alpha` beside its own names

    @property
    def component(self) -> str:
        """The diffusers pipeline component that the LoRA belongs to."""
        return self.diffusers.prefix.removesuffix(".")
