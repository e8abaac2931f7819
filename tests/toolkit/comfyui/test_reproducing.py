"""`palate comfy workflow`: a run's settings and a LoRA's header become a graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file as save

from comfy_nodes.header import AlignedLoraHeader
from toolkit import recipe
from toolkit.comfyui import reproducing
from toolkit.errors import UsageError
from toolkit.run_folder import RunFolder

WORDS = [{"positive": "Realistic photo", "negative": "CG Render"}]


def lora(path: Path, family: str, **about: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = AlignedLoraHeader("srpo", family, "x", WORDS, **about)
    save({"transformer.a.lora_A.weight": np.zeros((1, 1), np.float32)}, path, metadata=header.to_metadata())
    return path


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished FLUX run, as far as this command looks at it."""
    content = {
        "name": "photo", "base": {"name": "flux", "width": 720, "height": 720,
                                  "parts": {"transformer": "flux1-krea.safetensors"}},
        "method": "srpo", "reward": "hpsv21", "words": WORDS[0], "training": {"seed": 7},
        "validation": {"scorer": "pickscore", "steps": 30, "guidance_scale": 3.0},
    }  # fmt: skip
    made = RunFolder.create(tmp_path / "runs", recipe.parse(content))
    lora(made.lora / "photo.safetensors", "flux-1-dev", strength=(0.4, 0.9))
    return made


def test_a_run_is_drawn_as_its_previews(run: RunFolder, call, tmp_path: Path) -> None:
    code, out, err = call("comfy", "workflow", str(run.path), "--api", "-o", "made.json")
    assert (code, err) == (0, "")
    assert "models/diffusion_models/flux1-krea.safetensors" in out
    assert "models/loras/photo.safetensors" in out
    made = {node["class_type"]: node["inputs"] for node in json.loads((tmp_path / "made.json").read_text()).values()}
    assert made["UNETLoader"]["unet_name"] == "flux1-krea.safetensors"
    prompted = made["PalateAlignedPrompt"]
    assert (prompted["prompt"], prompted["lora_name"]) == ("a dog", "photo.safetensors")
    assert (prompted["strength"], prompted["word_strength"]) == (0.9, 0.0)
    sampler = made["KSampler"]
    assert (sampler["seed"], sampler["steps"], sampler["cfg"], sampler["scheduler"]) == (7, 30, 1.0, "simple")
    assert made["FluxGuidance"]["guidance"] == 3.0
    assert (made["EmptySD3LatentImage"]["width"], made["ModelSamplingFlux"]["height"]) == (720, 720)


def test_what_is_asked_for_wins(run: RunFolder, call, tmp_path: Path) -> None:
    asked = ["--prompt", "a cat", "--seed", "0", "--steps", "8", "--strength", "0", "--words", "--negative-prompt", "x"]
    code, _, err = call("comfy", "workflow", "photo", "--runs", str(run.path.parent), *asked)
    assert (code, err) == (0, "")
    nodes = {
        node["type"]: node["widgets_values"] for node in json.loads((tmp_path / "photo.json").read_text())["nodes"]
    }
    assert nodes["KSampler"][:3] == [0, "fixed", 8]
    assert nodes["PalateAlignedPrompt"][:4] == ["a cat", "x", "photo.safetensors", 0.0]
    assert nodes["PalateAlignedPrompt"][-2:] == [1.0, "both"]


@pytest.mark.parametrize(
    ("name", "family", "wanted"),
    [
        ("mine.safetensors", "sdxl", "mine_comfyui.safetensors"),
        ("mine_comfyui.safetensors", "wan", "mine_comfyui.safetensors"),
        ("mine.safetensors", "qwen_image", "mine.safetensors"),
    ],
)
def test_a_lora_alone_is_named_as_comfyui_reads_it(tmp_path: Path, name: str, family: str, wanted: str) -> None:
    made = reproducing.of(str(lora(tmp_path / name, family)))
    assert (made.family, made.lora, made.strength) == (family, wanted, 1.0)


def test_a_lora_below_the_first_comes_first(run: RunFolder) -> None:
    content = run.recipe().model_dump(mode="json")
    content["lora"] |= {"start": "/elsewhere/turbo.safetensors", "start_strength": 0.5}
    run.recipe_file.write_text(recipe.parse(content).to_yaml())
    made = reproducing.graph(reproducing.of_run(run), "any")
    chained = made.find("PalateChainLora").values
    assert (chained["lora_name"], chained["strength"], chained["word_strength"]) == ("turbo.safetensors", 0.5, 0.0)
    assert made.find("PalateAlignedPrompt").values["loras"].node.name == "PalateChainLora"


def test_a_run_without_lora_and_a_file_without_family_are_refused(run: RunFolder, tmp_path: Path) -> None:
    for file in run.lora_files():
        file.unlink()
    with pytest.raises(UsageError, match="has no LoRA yet"):
        reproducing.of_run(run)
    save({"a": np.zeros(1, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="does not say which model"):
        reproducing.of_lora(tmp_path / "other.safetensors")
