"""Nodes for the tests alone: tiny random models and text encoders, and what their patches make of the weights.

The test copies `comfyui_probe.py` beside this file, which knows a small model of every family.
"""

from __future__ import annotations

from typing import Any

import comfy.lora
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.utils
import torch

from .comfyui_probe import TINY, build

CLIP_LAYERS = 2
# Tokens and width of the states, width of the pooled vector.
ENCODED = {"flux": ((256, 4096), 768), "sdxl": ((77, 2048), 1280), "wan": ((512, 4096), 0)}


class Target:
    """What comfy.sd.CLIP asks for."""

    params: dict[str, Any] = {}  # noqa: RUF012
    clip = comfy.sd1_clip.SD1ClipModel
    tokenizer = comfy.sd1_clip.SD1Tokenizer


def randomise(module: torch.nn.Module) -> None:
    """The same small numbers each time; ComfyUI's layers begin with whatever lay in memory."""
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)


class TestModel:
    """A tiny random model of a family."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "make", "testing"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"family": ([*TINY],), "context": ("INT", {"default": 0})}}

    def make(self, family: str, context: int) -> tuple[Any]:
        kind, settings = TINY[family]
        model = build(kind, {**settings, "context_dim": context} if context else settings, device="cpu")
        randomise(model.diffusion_model)
        cpu = torch.device("cpu")
        return (comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu),)


class TestClip:
    """A CLIP-L of two random layers with its real tokenizer."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP",), "make", "testing"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}

    def make(self) -> tuple[Any]:
        options = {"clip_l_model_config": {"num_hidden_layers": CLIP_LAYERS}, "dtype": torch.float32}
        clip = comfy.sd.CLIP(Target, model_options=options)
        randomise(clip.cond_stage_model)
        return (clip,)


class RandomEncoder:
    """In the place of a text encoder: a family's shapes, numbers that depend on the text alone."""

    def __init__(self, shape: tuple[int, int], pooled: int) -> None:
        self.shape, self.pooled = shape, pooled
        self.cond_stage_model = torch.nn.Module()

    def tokenize(self, text: str) -> dict[str, Any]:
        return {"text": [[(text, 1.0)]]}

    def encode_from_tokens_scheduled(self, tokens: dict[str, Any]) -> list[Any]:
        (((text, _),),) = tokens["text"]
        generator = torch.Generator().manual_seed(sum(place * ord(letter) for place, letter in enumerate(text, 1)))
        states = torch.randn(1, *self.shape, generator=generator)
        pooled = {"pooled_output": torch.randn(1, self.pooled, generator=generator)} if self.pooled else {}
        return [[states, pooled]]

    def clone(self) -> RandomEncoder:
        return self

    def add_patches(self, patches: Any, strength: float) -> list[str]:
        return []


class TestEncoder:
    """Random states of a family's shape instead of gigabytes of text encoder."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP",), "make", "testing"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"family": ([*ENCODED],)}}

    def make(self, family: str) -> tuple[Any]:
        return (RandomEncoder(*ENCODED[family]),)


class TestCompare:
    """Two patched models: which weights are patched, and the largest difference between the patched weights."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "compare", "testing", True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"one": ("MODEL",), "other": ("MODEL",)}}

    def compare(self, one: Any, other: Any) -> dict[str, Any]:
        pairs = {name: (patched(one, name), patched(other, name)) for name in one.patches if name in other.patches}
        changes = [float((mine - weight(one, name)).abs().max()) for name, (mine, _) in pairs.items()]
        found = {
            "only_one": sorted(set(one.patches) ^ set(other.patches)),
            "weights": len(pairs),
            "difference": max((float((mine - its).abs().max()) for mine, its in pairs.values()), default=0.0),
            "smallest_change": min(changes, default=0.0),
        }
        return {"ui": {"found": [found]}}


def weight(model: Any, name: str) -> torch.Tensor:
    """One weight of a model, in float32."""
    return comfy.utils.get_attr(model.model, name).detach().float().clone()


def patched(model: Any, name: str) -> torch.Tensor:
    """The weight that sampling would use."""
    return comfy.lora.calculate_weight(model.patches[name], weight(model, name), name)


NODE_CLASS_MAPPINGS = {
    "TestModel": TestModel, "TestClip": TestClip, "TestEncoder": TestEncoder, "TestCompare": TestCompare,
}  # fmt: skip
