"""A stand-in for ComfyUI, just large enough for the pack to be loaded as ComfyUI loads it; the real one is in e2e."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from comfy_nodes.header import AlignedLoraHeader

PACK = Path(__file__).resolve().parents[2] / "comfy_nodes"
SCHEMA = ("node_id", "display_name", "category", "inputs", "outputs", "description", "is_output_node", "is_input_list",
          "hidden")  # fmt: skip
SOCKET = {"display_name": None, "optional": False, "tooltip": None}
WIDGET = {**SOCKET, "default": None, "min": None, "max": None, "step": None, "options": None, "multiline": False,
          "dynamic_prompts": None}  # fmt: skip
TYPES = (
    "Model",
    "Clip",
    "ClipVision",
    "Conditioning",
    "String",
    "Float",
    "Int",
    "Boolean",
    "Combo",
    "Image",
    "Latent",
    "Vae",
)


def socket(kind: str, keywords: dict[str, Any]) -> type:
    """A class that refuses every keyword but these, as ComfyUI's do."""
    return make_dataclass(kind, [("id", Any), *((name, Any, default) for name, default in keywords.items())])


def comfy_type(kind: str, extra: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(
        Input=socket(kind, {**WIDGET, **extra}), Output=socket(kind, {**SOCKET, "is_output_list": False})
    )


class NodeOutput(tuple):
    """What a node gives: a tuple that also holds what is shown."""

    ui: Any

    def __new__(cls, *values: Any, ui: Any = None) -> NodeOutput:
        made = super().__new__(cls, values)
        made.ui = ui
        return made


def latest(release: str) -> ModuleType:
    """comfy_api.latest of an old release, or of a newer one with search aliases and advanced inputs."""
    new = release == "new"
    extra = {"advanced": False} if new else {}
    fields = (*SCHEMA, "search_aliases") if new else SCHEMA
    io = SimpleNamespace(
        ComfyNode=type("ComfyNode", (), {}),
        NodeOutput=NodeOutput,
        Schema=make_dataclass("Schema", [(name, Any, None) for name in fields]),
        Custom=lambda kind: comfy_type(kind, extra),
        Hidden=SimpleNamespace(prompt="PROMPT", extra_pnginfo="EXTRA_PNGINFO"),
        FolderType=SimpleNamespace(output="output", temp="temp"),
        **{kind: comfy_type(kind.upper(), extra) for kind in TYPES},
    )
    return module("comfy_api.latest", io=io, ui=UI, ComfyExtension=type("ComfyExtension", (), {}))


UI = SimpleNamespace(
    PreviewText=lambda text: {"text": text},
    PreviewImage=lambda image, cls: {"images": image.shape},
    ImageSaveHelper=SimpleNamespace(save_animated_webp=lambda images, *_, **about: (images.shape, about["fps"])),
    SavedResult=lambda name, subfolder, kind: {"filename": name, "subfolder": subfolder, "type": kind},
    SavedImages=lambda results, is_animated=False: {"images": results, "animated": (is_animated,)},
)


def module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(content)
    return made


def load_torch_file(path: str, safe_load: bool = False, return_metadata: bool = False) -> Any:
    assert safe_load
    assert return_metadata
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def core_nodes(calls: list[Any]) -> ModuleType:
    """Core's nodes.py: a sampler whose latents tell seed, patches and text apart, and its decoder."""

    def common_ksampler(
        model: Any, seed: int, steps: int, cfg: float, sampler_name: str, scheduler: str,
        positive: Any, negative: Any, latent: dict[str, Any], denoise: float = 1.0,
    ) -> tuple[dict[str, Any]]:  # fmt: skip
        calls.append({"seed": seed, "patches": model.patches, "positive": positive, "negative": negative,
                      "settings": (steps, cfg, sampler_name, scheduler, denoise)})  # fmt: skip
        noise = torch.rand(latent["samples"].shape, generator=torch.Generator().manual_seed(seed))
        changed = sum(strength for _, strength in model.patches) / 10
        text = positive[0][0].mean() - negative[0][0].mean()
        return ({**latent, "samples": latent["samples"] + noise + changed + text / 1000},)

    class VAEDecode:
        def decode(self, vae: Any, samples: dict[str, Any]) -> tuple[torch.Tensor]:
            frames = vae.decode(samples["samples"])
            return (frames.reshape(-1, *frames.shape[-3:]),)

    return module("nodes", common_ksampler=common_ksampler, VAEDecode=VAEDecode)


def conditioning_set_values(conditioning: Any, values: dict[str, Any]) -> Any:
    return [[tokens, {**about, **values}] for tokens, about in conditioning]


def comfy_utils() -> ModuleType:
    made = module("comfy.utils", load_torch_file=load_torch_file, ProgressBar=Progress, PROGRESS_BAR_HOOK=None)
    made.set_progress_bar_global_hook = lambda hook: setattr(made, "PROGRESS_BAR_HOOK", hook)
    return made


def folder_paths(folder: Path) -> ModuleType:
    def full_path(_: str, name: str) -> str | None:
        path = folder / os.path.relpath(Path("/", name), "/")
        return str(path) if path.is_file() else None

    def list_files(_: str) -> list[str]:
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    return module(
        "folder_paths", get_full_path=full_path, get_full_path_or_raise=full_path, get_filename_list=list_files,
        models_dir=str(folder.parent), folder_names_and_paths={},
        get_output_directory=lambda: str(folder.parent / "output"),
    )  # fmt: skip


class BaseModel:
    """SD 1.5, as ComfyUI's class is called, with two layers."""

    def __init__(self) -> None:
        self.weights = {f"diffusion_model.{name}.weight": torch.ones(4, 3) for name in ("a", "b")}

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self.weights


class Flux(BaseModel):
    """Another family."""


@dataclass
class Patched:
    """A model or text encoder and the LoRAs on it."""

    model: Any
    cond_stage_model: Any = None
    patches: tuple[Any, ...] = ()


class Encoder(Patched):
    """Four numbers per word: its length, its letters' sum, its place, its weight; a pooled vector of their means."""

    def tokenize(self, text: str, **_: Any) -> dict[str, list[Any]]:
        return {"l": [[(text, 1.5 if text == "(x:1.5)" else 1.0)]]}

    def encode_from_tokens_scheduled(self, tokens: dict[str, list[Any]]) -> list[Any]:
        (((text, _),),) = tokens["l"]
        words = (text.split() + [""] * 77)[:77]
        rows = [[len(word), sum(map(ord, word)) / 100, place, 1.0] for place, word in enumerate(words)]
        encoded = torch.tensor([rows], dtype=torch.float32)
        return [[encoded, {"pooled_output": encoded.mean(1)}]]


class Progress:
    """A bar that only counts."""

    def __init__(self, total: int) -> None:
        self.left = total

    def update(self, steps: int) -> None:
        self.left -= steps


@dataclass
class Blocker:
    """In place of an output that cannot be had."""

    message: str


@dataclass
class ComfyUI:
    """The stand-in: where its LoRAs lie, and what its loader and its sampler were asked."""

    loras: Path
    calls: list[Any]
    sampled: list[Any]
    load: Callable[..., Any]

    def model(self, kind: type = BaseModel) -> Patched:
        return Patched(kind())

    def clip(self) -> Encoder:
        return Encoder(None, cond_stage_model=object())

    def lora(self, name: str = "mine.safetensors", *, layers: str = "ab", size: int = 4, **about: Any) -> Path:
        """A file in the folder, its words and family in its header."""
        path = self.loras / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for layer in layers:
            tensors[f"lora_unet_{layer}.lora_up.weight"] = torch.ones(size, 2)
            tensors[f"lora_unet_{layer}.lora_down.weight"] = torch.ones(2, 3)
        words = [{"positive": "3d render (soft)", "negative": "line art"}, {"positive": "sharp", "negative": "blurry"}]
        header = AlignedLoraHeader(**{"method": "srpo", "family": "sd15", "base": "x", "words": words, **about})
        save_file(tensors, path, metadata=header.to_metadata())
        return path


@pytest.fixture(params=["old", "new"])
def release(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def comfyui(release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComfyUI:
    loras, calls, sampled = tmp_path / "loras", [], []
    loras.mkdir()

    def keys(model: Any, known: dict[str, Any]) -> dict[str, Any]:
        layers = {name.split(".")[1]: name for name in model.state_dict()}
        return {**known, **{f"lora_unet_{layer}": name for layer, name in layers.items()}}

    def load(model: Any, clip: Any, tensors: Any, strength: float, strength_clip: float) -> tuple[Any, Any]:
        calls.append((sorted(tensors), strength, strength_clip))
        patch = (tuple(sorted(tensors)), strength)
        patched = Patched(model.model, patches=(*model.patches, patch))
        return patched, clip and Encoder(None, clip.cond_stage_model, (*clip.patches, patch))

    comfy = {
        "lora": {"model_lora_keys_unet": keys, "model_lora_keys_clip": lambda model, known: known},
        "lora_convert": {"convert_lora": lambda tensors: tensors},
        "sd": {"load_lora_for_models": load},
        "sd1_clip": {
            "token_weights": lambda text, weight: [(text, weight)],
            "escape_important": lambda text: text, "unescape_important": lambda text: text,
        },
        "model_management": {"throw_exception_if_processing_interrupted": lambda: None},
        "samplers": {"KSampler": SimpleNamespace(SAMPLERS=["euler"], SCHEDULERS=["simple"])},
        "clip_vision": {},
        "cli_args": {"args": SimpleNamespace(disable_metadata=False)},
    }  # fmt: skip
    parts = {"utils": comfy_utils()} | {name: module(f"comfy.{name}", **content) for name, content in comfy.items()}
    modules = {"comfy": module("comfy", **parts), **{made.__name__: made for made in parts.values()}}
    modules |= {"comfy_api": module("comfy_api"), "comfy_api.latest": latest(release)}
    blocker = module("comfy_execution.graph_utils", ExecutionBlocker=Blocker)
    modules |= {"comfy_execution": module("comfy_execution"), blocker.__name__: blocker}
    modules["nodes"] = core_nodes(sampled)
    modules["node_helpers"] = module("node_helpers", conditioning_set_values=conditioning_set_values)
    for name, made in {**modules, "folder_paths": folder_paths(loras)}.items():
        monkeypatch.setitem(sys.modules, name, made)
    return ComfyUI(loras, calls, sampled, lambda folder=PACK: load_pack(folder, monkeypatch))


def load_pack(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """As ComfyUI does it: the folder's whole path is the module's name."""
    name = str(folder).replace(".", "_x_")
    for old in [each for each in sys.modules if each.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, old)
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, made)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def pack(comfyui: ComfyUI) -> ModuleType:
    return comfyui.load()


@pytest.fixture
def nodes(pack: ModuleType) -> dict[str, Any]:
    """The pack's nodes by their ids."""
    extension = asyncio.run(pack.comfy_entrypoint())
    return {node.define_schema().node_id: node for node in asyncio.run(extension.get_node_list())}
