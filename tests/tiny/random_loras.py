"""Tiny diffusers networks of every family, and LoRA files of random numbers for them."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import diffusers
import torch
from torch import nn

from comfy_nodes.header import AlignedLoraHeader
from toolkit.loras import writing
from toolkit.loras.families import FAMILIES
from toolkit.loras.updates import Update

WORDS = [{"positive": "3d render (soft)", "negative": "line art"}]
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NETWORKS = json.loads((GOLDEN / "tiny_networks.json").read_text(encoding="utf-8"))
DEMO = json.loads((files("demo_world") / "weights" / "transformer" / "config.json").read_text(encoding="utf-8"))
NETWORKS["demo"] = {
    "class": DEMO["_class_name"], "settings": {name: value for name, value in DEMO.items() if not name.startswith("_")},
}  # fmt: skip


def network_of(family: str) -> nn.Module:
    torch.manual_seed(0)
    return getattr(diffusers, NETWORKS[family]["class"])(**NETWORKS[family]["settings"])


def random_updates(family: str, network: nn.Module) -> dict[str, Update]:
    """A small random update on every layer of the tiny network that its original can take."""
    generator = torch.Generator().manual_seed(7)
    return {
        name: Update(
            torch.randn(2, *module.weight.shape[1:], generator=generator),
            torch.randn(module.weight.shape[0], 2, *(1 for _ in module.weight.shape[2:]), generator=generator),
        )
        for name, module in network.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and FAMILIES[family].renaming.to_original(name)
    }


def diffusers_file(folder: Path, family: str, network: nn.Module) -> Path:
    """A LoRA on every layer, as training writes it."""
    each = FAMILIES[family]
    path, about = folder / "diffusers.safetensors", AlignedLoraHeader("srpo", family, "tiny", WORDS).to_metadata()
    writing.write(path, random_updates(family, network), each, each.diffusers, dtype="float32", metadata=about)
    return path
