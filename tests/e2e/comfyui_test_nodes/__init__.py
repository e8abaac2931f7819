"""Nodes for the tests alone: tiny random models and text encoders, and what their patches make of the weights.

The test copies `comfyui_probe.py` beside this file, which knows a small model of every family.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comfy.clip_vision
import comfy.lora
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.utils
import numpy
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from .comfyui_probe import FLUX, TINY, build

CLIP_LAYERS = 2
# Tokens and width of the states, width of the pooled vector.
ENCODED = {"flux": ((256, 4096), 768), "sdxl": ((77, 2048), 1280), "wan": ((512, 4096), 0)}
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


class TestPair:
    """The towers of a small CLIP in transformers' layout; without its text projection where that is asked for."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP_VISION", "CLIP"), "make", "testing"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"folder": ("STRING", {}), "without_projection": ("BOOLEAN", {"default": False})}}

    def make(self, folder: str, without_projection: bool) -> tuple[Any, Any]:
        weights = comfy.utils.load_torch_file(str(Path(folder) / "model.safetensors"), safe_load=True)
        vision = comfy.clip_vision.ClipVisionModel(str(Path(folder) / "vision.json"))
        seen = {name: weight for name, weight in weights.items() if name.startswith("vis")}
        assert vision.load_sd(seen) == ([], [])
        options = {"clip_l_model_config": json.loads((Path(folder) / "text.json").read_text()), "dtype": torch.float32}
        clip = comfy.sd.CLIP(Target, model_options=options)
        read = {name: weight for name, weight in weights.items() if name.startswith("text")}
        assert clip.load_sd(read) == ([], [])
        if without_projection:
            clip.cond_stage_model.clip_l.transformer.text_projection.weight.zero_()
        return vision, clip


class TestPictures:
    """Every PNG of a folder, of whatever size, as a list."""

    RETURN_TYPES, OUTPUT_IS_LIST, FUNCTION, CATEGORY = ("IMAGE",), (True,), "read", "testing"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"folder": ("STRING", {})}}

    def read(self, folder: str) -> tuple[list[torch.Tensor]]:
        files = sorted(Path(folder).glob("*.png"))
        return ([torch.from_numpy(numpy.array(Image.open(file)) / numpy.float32(255))[None] for file in files],)


class TestShow:
    """Numbers as they are, tensors and latents by their shapes and means."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE, INPUT_IS_LIST = (), "show", "testing", True, True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("*",)}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types: Any) -> bool:
        return True

    def show(self, value: list[Any]) -> dict[str, Any]:
        return {"ui": {"found": [shown(each) for each in value]}}


def shown(value: Any) -> Any:
    """What JSON can say of a socket's value."""
    if isinstance(value, dict):
        value = value["samples"]
    return {"shape": list(value.shape), "mean": float(value.mean())} if torch.is_tensor(value) else value


def weight(model: Any, name: str) -> torch.Tensor:
    """One weight of a model, in float32."""
    return comfy.utils.get_attr(model.model, name).detach().float().clone()


def patched(model: Any, name: str) -> torch.Tensor:
    """The weight that sampling would use."""
    return comfy.lora.calculate_weight(model.patches[name], weight(model, name), name)


TESTING = (TestModel, TestClip, TestEncoder, TestCompare, TestForward, TestPair, TestPictures, TestShow)
NODE_CLASS_MAPPINGS = {node.__name__: node for node in TESTING}
