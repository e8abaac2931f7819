"""Nodes for the tests alone: tiny random models and text encoders, and what their patches make of the weights.

The test copies `comfyui_probe.py` beside this file, which knows a small model of every family.
"""

from __future__ import annotations

from typing import Any

import comfy.lora
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.utils
import torch
from safetensors.torch import load_file, save_file

from .comfyui_probe import FLUX, TINY, build

CLIP_LAYERS, CLIP_WIDTH = 2, 768
MODELS = {**TINY, "flux at width": ("Flux", {**FLUX, "depth": 1, "depth_single_blocks": 1})}  # half a billion numbers


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
    """A random model of a family, tiny but for one."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "make", "testing"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"family": ([*MODELS],), "context": ("INT", {"default": 0})}}

    def make(self, family: str, context: int) -> tuple[Any]:
        kind, settings = MODELS[family]
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


class TestForward:
    """One call of a patched network: its inputs from a file, its output into one. The base's weights come back."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "forward", "testing", True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"model": ("MODEL",), "inputs": ("STRING",), "output": ("STRING",)}}

    @torch.no_grad()
    def forward(self, model: Any, inputs: str, output: str) -> dict[str, Any]:
        asked = load_file(inputs)
        x, timestep, context = (asked.pop(name) for name in ("x", "timestep", "context"))
        comfy.model_management.load_models_gpu([model])
        network = model.model.diffusion_model
        answer = network(x, timestep, context, num_tokens=context.shape[1], transformer_options={}, **asked)
        save_file({"output": answer.contiguous()}, output)
        kinds = {str(parameter.dtype) for parameter in network.parameters()}
        comfy.model_management.unload_all_models()
        return {"ui": {"dtypes": sorted(kinds)}}


def weight(model: Any, name: str) -> torch.Tensor:
    """One weight of a model, in float32."""
    return comfy.utils.get_attr(model.model, name).detach().float().clone()


def patched(model: Any, name: str) -> torch.Tensor:
    """The weight that sampling would use."""
    return comfy.lora.calculate_weight(model.patches[name], weight(model, name), name)


NODE_CLASS_MAPPINGS = {
    "TestModel": TestModel, "TestClip": TestClip, "TestCompare": TestCompare, "TestForward": TestForward,
}  # fmt: skip
