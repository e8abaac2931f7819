"""HPSv2.1 and PickScore once at their real size: 986 M parameters, random weights under the published names."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import rewards as tiny_rewards

from toolkit.recipe import Section
from training import tables

PARAMETERS = 986_109_441
GIGABYTES, SECONDS = 8.0, 120.0
TEXT = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
VISION = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}
CLIP_H = {
    "model_type": "clip", "projection_dim": 1024,
    "text_config": {**TEXT, "vocab_size": 49408, "hidden_act": "gelu", "bos_token_id": 0, "eos_token_id": 2},
    "vision_config": {**VISION, "image_size": 224, "patch_size": 14, "hidden_act": "gelu"},
}  # fmt: skip


def hpsv21(folder: Path) -> Section:
    torch.save({"state_dict": tiny_rewards.full_size("hpsv21")}, folder / "HPS_v2.1_compressed.pt")
    return Section(name="hpsv21", settings={"weights": str(folder), "dtype": "bfloat16"})


def pickscore(folder: Path) -> Section:
    (folder / "config.json").write_text(json.dumps(CLIP_H))
    save_file(tiny_rewards.full_size("pickscore"), folder / "model.safetensors")
    settings = {"weights": str(folder), "tokenizer": str(tiny_rewards.CLIP_TOKENIZER), "dtype": "bfloat16"}
    return Section(name="pickscore", settings=settings)


@pytest.mark.slow
@pytest.mark.parametrize("write", [hpsv21, pickscore])
def test_a_full_size_scorer_loads_scores_and_gives_a_gradient(write: Callable[[Path], Section], tmp_path: Path) -> None:
    started = time.monotonic()
    section = write(tmp_path)
    reward = tables.reward(section)
    assert sum(parameter.numel() for parameter in reward.parameters()) == PARAMETERS
    picture = torch.rand(1, 3, 256, 320, generator=torch.Generator().manual_seed(2), requires_grad=True)
    scores = reward.score(picture, reward.target([["3d render. a cat", "line art. a cat"]]))
    scores.sum().backward()
    seconds, peak = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    for file in tmp_path.iterdir():  # gigabytes that nobody needs any more
        file.unlink()
    print(f"\n{section.name}: {PARAMETERS:,} parameters, {seconds:.0f} s, at most {peak:.1f} GB")
    assert scores.isfinite().all()
    assert picture.grad.isfinite().all()
    assert picture.grad.abs().max() > 0
    assert (seconds < SECONDS, peak < GIGABYTES) == (True, True)
