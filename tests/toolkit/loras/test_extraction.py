"""A LoRA out of two models: a planted difference comes back, everything else is reported, memory stays small."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from toolkit.errors import UsageError
from toolkit.loras.extraction import extract
from toolkit.loras.reading import read

WIDTH = 64
DIFFUSERS = [f"transformer_blocks.{n}.attn.to_{part}.weight" for n in range(2) for part in "qkv"]
ORIGINAL = ["double_blocks.0.img_attn.qkv.weight", "double_blocks.0.img_attn.proj.weight"]


def base(names: list[str], *, prefix: str = "") -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = {name: WIDTH * (3 if "qkv" in name else 1) for name in names}
    return {prefix + name: torch.randn(rows[name], WIDTH, generator=generator) for name in names}


def tuned(weights: Mapping[str, Tensor], *, rank: int = 8) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def change(rows: int) -> Tensor:
        return 0.02 * torch.randn(rows, rank, generator=generator) @ torch.randn(rank, WIDTH, generator=generator)

    return {name: weight + change(len(weight)) for name, weight in weights.items()}


def write(folder: Path, weights: Mapping[str, Tensor], *, shards: int = 1) -> Path:
    folder.mkdir()
    if shards == 1:
        save_file(dict(weights), folder / "model.safetensors")
        return folder
    names, where = list(weights), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: weights[name] for name in names[shard::shards]}
        save_file(part, folder / file)
        where |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


@pytest.mark.parametrize("settings", [{"rank": 8}, {"energy": 0.9999}], ids=["rank", "energy"])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_planted_difference_comes_back(tmp_path: Path, settings: dict, shards: int) -> None:
    before = base(DIFFUSERS)
    after = tuned(before)
    old, new = write(tmp_path / "old", before, shards=shards), write(tmp_path / "new", after)
    report = extract(new, old, tmp_path / "lora.safetensors", family="flux", **settings)
    assert report.error <= 1e-3
    assert [layer.rank for layer in report.layers] == [8] * len(DIFFUSERS)
    for name, update in read(tmp_path / "lora.safetensors").updates.items():
        difference = after[f"{name}.weight"] - before[f"{name}.weight"]
        assert (update.delta() - difference).norm() <= 1e-3 * difference.norm()


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_original_names_become_diffusers_slices(tmp_path: Path, prefix: str) -> None:
    before = base(ORIGINAL, prefix=prefix)
    after = tuned(before)
    if prefix:
        before["first_stage_model.conv.weight"] = after["first_stage_model.conv.weight"] = torch.zeros(1)
    old, new = write(tmp_path / "old", before), write(tmp_path / "new", after)
    extract(new / "model.safetensors", old, tmp_path / "lora.safetensors", rank=8, family="flux")
    updates = read(tmp_path / "lora.safetensors").updates
    assert sorted(updates) == [f"transformer_blocks.0.attn.to_{part}" for part in ("k", "out.0", "q", "v")]
    fused = prefix + ORIGINAL[0]
    keys = (after[fused] - before[fused])[WIDTH : 2 * WIDTH]
    assert (updates["transformer_blocks.0.attn.to_k"].delta() - keys).norm() <= 1e-3 * keys.norm()


def test_what_does_not_become_lora_is_reported(tmp_path: Path) -> None:
    bias, norm, convolution = "transformer_blocks.0.attn.to_q.bias", "x.norm.weight", "x_embedder.weight"
    before = base(DIFFUSERS) | {bias: torch.zeros(4), norm: torch.ones(4), convolution: torch.zeros(4, 4, 2, 2)}
    after = tuned(base(DIFFUSERS)) | {name: before[name] + 1 for name in set(before) - set(DIFFUSERS)}
    old, new = write(tmp_path / "old", before), write(tmp_path / "new", after)
    report = extract(new, old, tmp_path / "lora.safetensors", rank=4, family="flux")
    assert dict(report.skipped) == {
        "transformer_blocks.0.attn.to_q.bias": 2.0,
        "x.norm.weight": 2.0,
        "x_embedder.weight": 8.0,
    }
    assert report.error > 0.1  # rank 4 of 8


def test_the_same_models_give_the_same_bytes(tmp_path: Path) -> None:
    before = base(DIFFUSERS)
    old, new = write(tmp_path / "old", before), write(tmp_path / "new", tuned(before))
    for name in "ab":
        extract(new, old, tmp_path / name / "x.safetensors", rank=4, family="flux")
    assert (tmp_path / "a" / "x.safetensors").read_bytes() == (tmp_path / "b" / "x.safetensors").read_bytes()


def test_wrong_pairs_are_refused_in_words(tmp_path: Path) -> None:
    before = base(DIFFUSERS)
    old, new = write(tmp_path / "old", before), write(tmp_path / "new", tuned(before))
    half = write(tmp_path / "half", dict(list(before.items())[:3]))
    wide = write(tmp_path / "wide", {name: torch.zeros(8, 8) for name in before})
    small = write(tmp_path / "small", {name: (w * 9).to(torch.float8_e4m3fn) for name, w in before.items()})
    output = tmp_path / "x.safetensors"
    for pair, words in [
        ((new, half), "not of one kind: `transformer_blocks.1.attn.to_k.weight` differs"),
        ((new, wide), "not of one kind"),
        ((new, small), "is quantised"),
        ((small, old), "is quantised"),
        ((old, old), "have the same matrices"),
        ((tmp_path / "nothing", old), r"no \.safetensors weights in `nothing`"),
    ]:
        with pytest.raises(UsageError, match=words):
            extract(*pair, output, rank=4, family="flux")
    for settings in ({}, {"rank": 4, "energy": 0.9}):
        with pytest.raises(UsageError, match="either a rank or an energy"):
            extract(new, old, output, **settings)
    assert not output.exists()


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"weight_map": {"a": "../elsewhere.safetensors"}}, "points outside its folder"),
        ({"weight_map": {"a": "gone.safetensors"}}, r"`gone\.safetensors` is missing"),
        ({"other": 1}, "is not an index of shards"),
    ],
)
def test_a_broken_index_is_refused(tmp_path: Path, index: dict, words: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match=words):
        extract(tmp_path, tmp_path, tmp_path / "x.safetensors", rank=4)


def test_a_cut_off_model_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "old", base(DIFFUSERS))
    file = folder / "model.safetensors"
    for length in (-8, 100, 4):
        file.write_bytes(file.read_bytes()[:length])
        with pytest.raises(UsageError, match="is not a readable safetensors file"):
            extract(folder, folder, tmp_path / "x.safetensors", rank=4)


# Sampled, since the system's own peak counter of a child begins at the size of its parent.
MEASURE = """
import sys, threading, time
from pathlib import Path
import psutil, torch
torch.randn(64, 64) @ torch.randn(64, 64)
torch.linalg.svd(torch.randn(600, 600)), torch.svd_lowrank(torch.randn(600, 600), 24)
from toolkit.loras.extraction import extract
process = psutil.Process()
sizes = [process.memory_info().rss]
def watch():
    while True:
        sizes.append(process.memory_info().rss)
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
report = extract(*map(Path, sys.argv[1:4]), rank=16, family="flux")
print(report.error, (max(sizes) - sizes[0]) / 1e6)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_gigabytes_need_less_than_one_of_memory(tmp_path: Path) -> None:
    """Two models of 1 GB each in bfloat16, a planted rank of 8; memory above that of the interpreter with torch."""
    names = [f"transformer_blocks.{n}.attn.to_{part}.weight" for n in range(7) for part in ("q", "k", "v", "out.0")]
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(4352, 4352, generator=generator)
    change = torch.randn(4352, 8, generator=generator) @ torch.randn(8, 4352, generator=generator)
    for name, matrix in (("old", weight), ("new", weight + change)):
        (tmp_path / name).mkdir()
        stored = matrix.bfloat16()
        save_file({each: stored.clone() for each in names}, tmp_path / name / "model.safetensors")
    total = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    assert total > 2e9
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "new"), str(tmp_path / "old"), str(tmp_path / "x.safetensors")],
        capture_output=True, text=True, timeout=800, check=True,
    )  # fmt: skip
    error, megabytes = map(float, result.stdout.split())
    print(f"{megabytes:.0f} MB, error {error:.4f}")
    assert megabytes < 1000
    assert error < 0.01  # what bfloat16 rounded in the fine-tune
