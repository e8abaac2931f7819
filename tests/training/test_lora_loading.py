"""HunyuanDiT has no LoRA loader in diffusers; ours puts every key of both files in, at the strength it was trained."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers.models.transformers.hunyuan_transformer_2d import HunyuanDiT2DModel
from safetensors.torch import save_file
from torch import nn

from toolkit.errors import UsageError
from toolkit.loras import writing
from toolkit.loras.convert import convert
from toolkit.loras.families import FAMILIES
from toolkit.loras.updates import Update
from training.lora_loading import load_lora

NETWORKS = json.loads((Path(__file__).parents[1] / "golden" / "tiny_networks.json").read_text(encoding="utf-8"))


@pytest.fixture
def pipe() -> SimpleNamespace:
    torch.manual_seed(0)
    return SimpleNamespace(transformer=HunyuanDiT2DModel(**NETWORKS["hunyuan_dit"]["settings"]))


@pytest.fixture
def updates(pipe: SimpleNamespace) -> dict[str, Update]:
    """On every linear layer, two ranks."""
    layers = {name: m.weight.shape for name, m in pipe.transformer.named_modules() if isinstance(m, nn.Linear)}
    ranks = {name: 1 + index % 2 for index, name in enumerate(layers)}
    return {
        name: Update(torch.randn(ranks[name], into), torch.randn(out, ranks[name]))
        for name, (out, into) in layers.items()
    }


@pytest.fixture
def path(updates: dict[str, Update], tmp_path: Path) -> Path:
    family = FAMILIES["hunyuan_dit"]
    about = {"palate": json.dumps({"family": "hunyuan_dit"})}
    writing.write(tmp_path / "x.safetensors", updates, family, family.diffusers, dtype="float32", metadata=about)
    return tmp_path / "x.safetensors"


@pytest.mark.parametrize("layout", ["diffusers", "comfyui"])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_every_layer_is_loaded(
    pipe: SimpleNamespace, path: Path, updates: dict[str, Update], layout: str, strength: float
) -> None:
    file = path.with_name("file.safetensors")
    convert(path, layout, file)  # type: ignore[arg-type]
    before = {name: m.weight.clone() for name, m in pipe.transformer.named_modules() if name in updates}
    loaded = load_lora(pipe, file, strength=strength)
    assert (loaded.layers, loaded.missing, loaded.unexpected) == (len(updates), (), ())
    modules = dict(pipe.transformer.named_modules())
    for name, update in updates.items():
        states = torch.randn(2, update.shape[1])
        base = torch.nn.functional.linear(states, before[name], modules[name].bias)
        expected = base + strength * states @ update.delta().T
        assert torch.allclose(modules[name](states), expected, atol=1e-3), name
    assert not any(p.requires_grad for name, p in pipe.transformer.named_parameters() if "lora_" in name)


def test_the_adapter_takes_the_networks_precision(pipe: SimpleNamespace, path: Path) -> None:
    pipe.transformer.to(torch.bfloat16)
    load_lora(pipe, path)
    assert {p.dtype for name, p in pipe.transformer.named_parameters() if "lora_" in name} == {torch.bfloat16}


def test_a_lora_that_does_not_fit_leaves_the_network_alone(pipe: SimpleNamespace, tmp_path: Path) -> None:
    stem = "transformer.blocks.9.attn1.to_q"
    tensors = {f"{stem}.lora_A.weight": torch.ones(1, 64), f"{stem}.lora_B.weight": torch.ones(64, 1)}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match=r"does not fit this network: `blocks\.9\.attn1\.to_q` is missing"):
        load_lora(pipe, tmp_path / "x.safetensors", family="hunyuan_dit")
    assert not any("lora_" in name for name, _ in pipe.transformer.named_parameters())
