"""Merged LoRAs are the sum of their changes; merged into a base they change exactly its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from toolkit import lora_file
from toolkit.errors import UsageError
from toolkit.loras import merging, writing
from toolkit.loras.families import FAMILIES
from toolkit.loras.reading import read
from toolkit.loras.updates import Update

Writer = Callable[..., Path]
Q, QKV = "transformer_blocks.0.attn.to_q", "double_blocks.0.img_attn.qkv"


def test_the_merge_is_the_weighted_sum(diffusers_file: Writer, tmp_path: Path) -> None:
    first, second = diffusers_file("flux", seed=1, name="a"), diffusers_file("flux", seed=2, name="b")
    lost = merging.merge([(first, 0.8), (second, -0.5)], tmp_path / "m.safetensors")
    merged, one, two = (read(path).updates for path in (tmp_path / "m.safetensors", first, second))
    assert lost == 0.0
    for name, update in merged.items():
        assert update.rank == 4
        assert torch.allclose(update.delta(), 0.8 * one[name].delta() - 0.5 * two[name].delta(), atol=1e-5)


def test_a_rank_keeps_the_best_part_and_says_what_it_costs(diffusers_file: Writer, tmp_path: Path) -> None:
    files = [(diffusers_file("wan", seed=seed, name=str(seed)), 1.0) for seed in (1, 2)]
    exact, small = tmp_path / "exact.safetensors", tmp_path / "small.safetensors"
    merging.merge(files, exact)
    lost = merging.merge(files, small, rank=3)
    whole, kept = read(exact).updates, read(small).updates
    assert {update.rank for update in kept.values()} == {3}
    missing = sum(float((whole[name].delta() - kept[name].delta()).norm()) ** 2 for name in whole)
    assert lost == pytest.approx((missing / sum(update.norm() ** 2 for update in whole.values())) ** 0.5, rel=1e-3)


def test_the_merged_file_names_its_parts_and_keeps_their_words(diffusers_file: Writer, tmp_path: Path) -> None:
    files = [(diffusers_file("sdxl", name=name), 1.0) for name in ("warm", "cold")]
    merging.merge(files, tmp_path / "m.safetensors")
    entries = lora_file.read_metadata(tmp_path / "m.safetensors")
    assert (entries["modelspec.merged_from"], entries["trained_words"]) == ("warm, cold", "a")
    header = lora_file.header(tmp_path / "m.safetensors")
    assert header is not None
    assert (header.method, header.family, header.words) == ("merge", "sdxl", [{"positive": "a", "negative": "b"}])


def lora(path: Path, family: str, name: str, update: Update) -> Path:
    about = {"palate": json.dumps({"family": family, "method": "x", "base": "y"})}
    writing.write(path, {name: update}, FAMILIES[family], FAMILIES[family].diffusers, dtype="float32", metadata=about)
    return path


def test_other_families_and_sizes_are_refused(diffusers_file: Writer, tmp_path: Path) -> None:
    flux, wan = diffusers_file("flux", name="f"), diffusers_file("wan", name="w")
    with pytest.raises(UsageError, match=r"`w\.safetensors` is for Wan, `f\.safetensors` for FLUX\.1"):
        merging.merge([(flux, 1), (wan, 1)], tmp_path / "m.safetensors")
    wide = lora(tmp_path / "wide.safetensors", "flux", Q, Update(torch.ones(1, 5), torch.ones(5, 1)))
    with pytest.raises(UsageError, match="has another size in each LoRA"):
        merging.merge([(flux, 1), (wide, 1)], tmp_path / "m.safetensors")


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A FLUX LoRA that adds 1 to every number of one layer, 4 by 4."""
    return lora(tmp_path / "one.safetensors", "flux", Q, Update(torch.ones(1, 4), torch.ones(4, 1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_into_a_folder_of_shards(one: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    folder, output = tmp_path / "pipe" / "transformer", tmp_path / "merged"
    folder.mkdir(parents=True)
    weights = {
        f"{Q}.weight": torch.zeros(4, 4, dtype=dtype),
        "other.weight": torch.arange(6.0),
        "scalar": torch.tensor(3),
    }
    names = {name: f"m-{index}.safetensors" for index, name in enumerate(weights)}
    for name, tensor in weights.items():
        save_file({name: tensor}, folder / names[name], {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (folder / "config.json").write_text("{}")
    assert merging.merge_into([(one, 0.5)], tmp_path / "pipe", output) == 1
    assert sorted(path.name for path in output.iterdir()) == sorted(path.name for path in folder.iterdir())
    changed = load_file(output / names[f"{Q}.weight"])[f"{Q}.weight"]
    assert torch.equal(changed, torch.full((4, 4), 0.5, dtype=dtype))
    for name in ("other.weight", "scalar"):
        assert (output / names[name]).read_bytes() == (folder / names[name]).read_bytes()


def test_into_one_file_of_original_names(one: Path, tmp_path: Path) -> None:
    source = tmp_path / "flux1.safetensors"
    weights = {f"model.diffusion_model.{QKV}.weight": torch.zeros(12, 4), "vae.weight": torch.ones(2)}
    save_file(weights, source)
    merging.merge_into([(one, 1.0)], source, tmp_path / "m.safetensors")
    merged = load_file(tmp_path / "m.safetensors")
    assert torch.equal(merged[f"model.diffusion_model.{QKV}.weight"].sum(1), torch.tensor([4.0] * 4 + [0.0] * 8))
    assert torch.equal(merged["vae.weight"], weights["vae.weight"])


def test_halves_are_swapped_where_the_original_swaps_them(tmp_path: Path) -> None:
    update = Update(torch.ones(1, 2), torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
    file = lora(tmp_path / "a.safetensors", "flux", "norm_out.linear", update)
    save_file({"final_layer.adaLN_modulation.1.weight": torch.zeros(4, 2)}, tmp_path / "base.safetensors")
    merging.merge_into([(file, 1.0)], tmp_path / "base.safetensors", tmp_path / "m.safetensors")
    (weight,) = load_file(tmp_path / "m.safetensors").values()
    assert weight[:, 0].tolist() == [3, 4, 1, 2]


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"other.weight": torch.zeros(4, 4)}, f"The base has no layer `{Q}`"),
        ({f"{Q}.weight": torch.zeros(8, 4)}, "has another size in the base"),
        ({f"{Q}.weight": torch.zeros(4, 4, dtype=torch.int8)}, "is quantised"),
    ],
)
def test_a_base_that_does_not_fit_is_refused_and_nothing_written(
    one: Path, tmp_path: Path, weights: dict[str, torch.Tensor], words: str
) -> None:
    save_file(weights, tmp_path / "base.safetensors")
    with pytest.raises(UsageError, match=words):
        merging.merge_into([(one, 1.0)], tmp_path / "base.safetensors", tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_the_base_itself_is_never_replaced(one: Path, tmp_path: Path) -> None:
    save_file({f"{Q}.weight": torch.zeros(4, 4)}, tmp_path / "base.safetensors")
    with pytest.raises(UsageError, match="would replace the base itself"):
        merging.merge_into([(one, 1.0)], tmp_path / "base.safetensors", tmp_path / "base.safetensors")
