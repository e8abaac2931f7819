"""What a loader would skip is named; a wrong strength, a broken number and a base that does not fit are too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from toolkit.loras import writing
from toolkit.loras.convert import convert
from toolkit.loras.families import FAMILIES
from toolkit.loras.family import COMFYUI, KOHYA_ORIGINAL, Spelling
from toolkit.loras.inspection import inspect
from toolkit.loras.reading import read
from toolkit.loras.updates import Update
from toolkit.loras.verification import verify

Writer = Callable[..., Path]
Q = "transformer_blocks.0.attn.to_q"
UNREAD_BY_COMFYUI = {"sd15", "sdxl", "wan", "hunyuan_dit", "flux2", "z_image"}  # their diffusers names


@pytest.mark.parametrize("family", FAMILIES)
def test_the_diffusers_file_loads_in_diffusers_and_where_comfyui_knows_its_names(
    family: str, diffusers_file: Writer
) -> None:
    verdict = verify(diffusers_file(family))
    assert verdict.unread["diffusers"] == []
    assert bool(verdict.unread["comfyui"]) == (family in UNREAD_BY_COMFYUI)
    assert verdict.problems == []


@pytest.mark.parametrize("family", FAMILIES)
def test_the_comfyui_file_loads_in_both(family: str, diffusers_file: Writer, tmp_path: Path) -> None:
    convert(diffusers_file(family), "comfyui", tmp_path / "ready.safetensors")
    assert verify(tmp_path / "ready.safetensors").good


def written(path: Path, spelling: Spelling, layers: tuple[str, ...], family: str = "flux") -> Path:
    updates = {name: Update(torch.ones(1, 4), torch.ones(4, 1)) for name in layers}
    about = {"palate": json.dumps({"family": family})}
    writing.write(path, updates, FAMILIES[family], spelling, dtype="float32", metadata=about)
    return path


@pytest.mark.parametrize(
    ("family", "spelling", "layer", "unread"),
    [
        ("flux", Spelling("base_model.model."), Q, {"diffusers", "comfyui"}),
        ("flux", COMFYUI, Q, {"diffusers"}),
        ("flux", KOHYA_ORIGINAL, "x_embedder", {"diffusers"}),
        ("flux", Spelling("lora_unet_", flat=True), Q, {"diffusers", "comfyui"}),
        ("flux", FAMILIES["flux"].diffusers, "transformer_blocks.19.attn.to_q", {"diffusers", "comfyui"}),
        ("flux2", COMFYUI, "norm_out.linear", {"diffusers"}),
        ("sd15", FAMILIES["sd15"].comfyui, "down_blocks.0.attentions.0.proj_in", set()),
        ("z_image", COMFYUI, "layers.0.attention.to_q", {"diffusers"}),
    ],
)
def test_layers_that_would_be_skipped_are_named(
    tmp_path: Path, family: str, spelling: Spelling, layer: str, unread: set[str]
) -> None:
    verdict = verify(written(tmp_path / "x.safetensors", spelling, (layer,), family))
    assert {loader for loader, names in verdict.unread.items() if names} == unread
    assert verdict.good == (not unread)
    assert all(names == list(read(tmp_path / "x.safetensors").stems) for names in verdict.unread.values() if names)


def alpha_file(path: Path, family: str, *, tensor: float | None, settings: dict | None) -> Path:
    stem = f"transformer.{Q}"
    tensors = {f"{stem}.lora_A.weight": torch.ones(2, 4), f"{stem}.lora_B.weight": torch.ones(4, 2)}
    metadata = {"palate": json.dumps({"family": family})}
    if tensor is not None:
        tensors[f"{stem}.alpha"] = torch.tensor(tensor)
    if settings:
        metadata["lora_adapter_metadata"] = json.dumps({f"transformer.{key}": value for key, value in settings.items()})
    save_file(tensors, path, metadata)
    return path


@pytest.mark.parametrize(
    ("tensor", "settings", "problem"),
    [
        (None, None, None),
        (2.0, None, None),
        (1.0, None, "diffusers would play 1 of 1 layers at 2 times their strength"),
        (None, {"r": 2, "lora_alpha": 4}, "ComfyUI would play 1 of 1 layers at 0.5 times their strength"),
        (None, {"r": 2, "lora_alpha": 2}, None),
    ],
)
def test_a_strength_that_a_loader_does_not_see_is_a_problem(
    tmp_path: Path, tensor: float | None, settings: dict | None, problem: str | None
) -> None:
    source = alpha_file(tmp_path / "x.safetensors", "sd3", tensor=tensor, settings=settings)
    verdict = verify(source)
    assert [text.partition(":")[0] for text in verdict.problems] == ([problem] if problem else [])
    convert(source, "comfyui", tmp_path / "y.safetensors")
    assert verify(tmp_path / "y.safetensors").good


def test_numbers_that_are_not_finite_are_a_problem(tmp_path: Path) -> None:
    stem = f"transformer.{Q}"
    broken = {f"{stem}.lora_A.weight": torch.ones(1, 4), f"{stem}.lora_B.weight": torch.full((4, 1), float("nan"))}
    save_file(broken, tmp_path / "x.safetensors")
    verdict = verify(tmp_path / "x.safetensors", family="flux")
    assert verdict.problems == [f"`{stem}.lora_B.weight` holds numbers that are not finite: pictures turn black."]


def test_the_base_says_what_does_not_fit_it(tmp_path: Path) -> None:
    source = written(tmp_path / "x.safetensors", FAMILIES["flux"].diffusers, (Q, "proj_out", "x_embedder"))
    base = {"double_blocks.0.img_attn.qkv.weight": torch.zeros(12, 4), "img_in.weight": torch.zeros(8, 4)}
    save_file(base, tmp_path / "base.safetensors")
    assert verify(source, base=tmp_path / "base.safetensors").problems == [
        "The base has no layer `proj_out`.",
        "`x_embedder` is 8 x 4 in the base and 4 x 4 in the LoRA.",
    ]


def test_the_published_models_that_fit_are_named(tmp_path: Path) -> None:
    update = {"single_transformer_blocks.19.attn.to_out": Update(torch.ones(1, 12288), torch.ones(3072, 1))}
    about = {"palate": json.dumps({"family": "flux2"})}
    path = tmp_path / "x.safetensors"
    writing.write(path, update, FAMILIES["flux2"], COMFYUI, dtype="bfloat16", metadata=about)
    assert verify(path).models == ["FLUX.2-klein-4B"]


def test_inspection_counts_and_measures(diffusers_file: Writer, tmp_path: Path) -> None:
    source = diffusers_file("flux")
    seen = inspect(source)
    updates = read(source).updates
    assert (seen.family, seen.layout, seen.layers, seen.tensors) == ("flux", "diffusers", 6, 12)
    assert (seen.ranks, seen.strengths, seen.precision) == ({2: 6}, {1.0: 6}, ["float32"])
    assert list(seen.blocks) == ["norm_out", "single_transformer_blocks.1", "transformer_blocks.0"]
    assert seen.norm == pytest.approx(sum(u.norm() ** 2 for u in updates.values()) ** 0.5)
    assert seen.blocks["norm_out"] == pytest.approx(float(updates["norm_out.linear"].delta().norm()), rel=1e-5)
    assert seen.words == [{"positive": "a", "negative": "b"}]
    assert json.loads(json.dumps(seen.to_dict()))["metadata"]["modelspec.title"] == "aligned"
