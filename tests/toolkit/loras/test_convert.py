"""A converted LoRA makes the same change of the weights, to the last bit that float32 holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from toolkit import lora_file
from toolkit.errors import UsageError
from toolkit.loras import writing
from toolkit.loras.convert import convert, for_comfyui, readers, serves_both
from toolkit.loras.families import FAMILIES
from toolkit.loras.family import COMFYUI, KOHYA, KOHYA_ORIGINAL, ONETRAINER, PEFT_ORIGINAL, Spelling
from toolkit.loras.reading import read
from toolkit.loras.updates import Update
from toolkit.loras.verification import verify

PEFT = Spelling("base_model.model.")
Writer = Callable[..., Path]


def deltas(path: Path, family: str = "") -> dict[str, torch.Tensor]:
    return {name: update.delta() for name, update in read(path, family).updates.items()}


def assert_same_change(first: Path, second: Path, family: str) -> None:
    ours, theirs = deltas(first, family), deltas(second, family)
    assert ours.keys() == theirs.keys()
    for name, delta in ours.items():
        assert (theirs[name].reshape(delta.shape) - delta).abs().max() <= 1e-6 * delta.abs().max(), name


@pytest.mark.parametrize("family", FAMILIES)
def test_there_and_back_is_the_same_change(family: str, diffusers_file: Writer, tmp_path: Path) -> None:
    source = diffusers_file(family)
    convert(source, "comfyui", tmp_path / "ready.safetensors")
    convert(tmp_path / "ready.safetensors", "diffusers", tmp_path / "back.safetensors")
    assert_same_change(source, tmp_path / "ready.safetensors", family)
    assert_same_change(source, tmp_path / "back.safetensors", family)


@pytest.mark.parametrize(
    ("family", "spelling"),
    [
        *((name, COMFYUI) for name in ("flux", "flux2", "sd3", "sd15", "sdxl", "hunyuan_dit", "z_image", "wan")),
        *((name, KOHYA_ORIGINAL) for name in ("flux", "flux2", "sd15", "sdxl", "wan", "qwen_image", "z_image")),
        *((name, KOHYA) for name in ("sd15", "sdxl", "qwen_image", "z_image")),
        *((name, PEFT) for name in FAMILIES),
        ("flux", ONETRAINER),
        ("hunyuan_dit", PEFT_ORIGINAL),
    ],
)
def test_foreign_layouts_become_the_diffusers_file(
    family: str, spelling: Spelling, diffusers_file: Writer, tmp_path: Path
) -> None:
    """The foreign file carries no metadata, so the family is told by its name alone."""
    source = diffusers_file(family)
    foreign = tmp_path / "foreign.safetensors"
    save_file(
        {k: v.contiguous() for k, v in writing.spelled(read(source).updates, FAMILIES[family], spelling).items()},
        foreign,
    )
    convert(foreign, "diffusers", tmp_path / "ours.safetensors", family=family)
    assert_same_change(source, tmp_path / "ours.safetensors", family)
    written = load_file(tmp_path / "ours.safetensors")
    assert all(name.startswith(FAMILIES[family].diffusers.prefix) for name in written)


def alpha_file(path: Path, *, tensor: float | None = None, **settings: object) -> Path:
    """One FLUX layer whose change is 1 at alpha = rank = 4."""
    stem = "transformer.transformer_blocks.0.attn.to_q"
    tensors = {f"{stem}.lora_A.weight": torch.ones(4, 8) / 4, f"{stem}.lora_B.weight": torch.ones(8, 4)}
    if tensor is not None:
        tensors[f"{stem}.alpha"] = torch.tensor(tensor)
    metadata = {f"transformer.{name}": value for name, value in settings.items()}
    save_file(tensors, path, {"lora_adapter_metadata": json.dumps(metadata)} if settings else None)
    return path


@pytest.mark.parametrize(
    ("arguments", "factor"),
    [
        ({}, 1.0),
        ({"tensor": 2.0}, 0.5),
        ({"r": 4, "lora_alpha": 8}, 2.0),
        ({"r": 4, "lora_alpha": 8, "use_rslora": True}, 4.0),
        ({"r": 4, "lora_alpha": 4, "alpha_pattern": {"attn.to_q": 1}}, 0.25),
        ({"r": 4, "lora_alpha": 4, "alpha_pattern": {"to_k": 1}}, 1.0),
    ],
)
@pytest.mark.parametrize("target", ["diffusers", "comfyui"])
def test_alpha_is_folded_into_the_weights(tmp_path: Path, arguments: dict, factor: float, target: str) -> None:
    source = alpha_file(tmp_path / "a.safetensors", **arguments)
    convert(source, target, tmp_path / "b.safetensors", family="flux")  # type: ignore[arg-type]
    tensors, metadata = lora_file.read(tmp_path / "b.safetensors")
    assert "lora_adapter_metadata" not in metadata
    assert not any(name.endswith(".alpha") for name in tensors)
    up, down = (tensors[f"transformer.transformer_blocks.0.attn.to_q.lora_{side}.weight"] for side in "BA")
    assert torch.equal(up @ down, torch.full((8, 8), factor))


def test_peft_says_alpha_in_the_file_beside(tmp_path: Path) -> None:
    source = tmp_path / "adapter_model.safetensors"
    stem = "base_model.model.blocks.0.attn1.to_q"
    save_file({f"{stem}.lora_A.weight": torch.ones(2, 4), f"{stem}.lora_B.weight": torch.ones(4, 2)}, source)
    (tmp_path / "adapter_config.json").write_text('{"r": 2, "lora_alpha": 6}')
    convert(source, "diffusers", tmp_path / "b.safetensors", family="wan")
    assert torch.equal(deltas(tmp_path / "b.safetensors", "wan")["blocks.0.attn1.to_q"], torch.full((4, 4), 6.0))


def test_kohya_files_say_that_alpha_is_the_rank(diffusers_file: Writer, tmp_path: Path) -> None:
    convert(diffusers_file("sdxl"), "comfyui", tmp_path / "ready.safetensors")
    tensors, metadata = lora_file.read(tmp_path / "ready.safetensors")
    alphas = [float(tensor) for name, tensor in tensors.items() if name.endswith(".alpha")]
    assert alphas == [2.0, 2.0]
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("2", "2.0")


def test_metadata_is_carried_over_and_made_true(diffusers_file: Writer, tmp_path: Path) -> None:
    source = diffusers_file("wan")
    convert(source, "comfyui", tmp_path / "ready.safetensors")
    before, after = lora_file.read_metadata(source), lora_file.read_metadata(tmp_path / "ready.safetensors")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"modelspec.implementation", "modelspec.hash_sha256", "sshs_model_hash"}
    assert (after["modelspec.architecture"], after["ss_base_model_version"]) == ("wan2.1/lora", "wan2.1")
    assert lora_file.header(tmp_path / "ready.safetensors").words == [{"positive": "a", "negative": "b"}]  # type: ignore[union-attr]


def test_the_same_file_gives_the_same_bytes(diffusers_file: Writer, tmp_path: Path) -> None:
    source = diffusers_file("flux2")
    for name in ("one", "two"):
        convert(source, "comfyui", tmp_path / name / "x.safetensors")
    assert (tmp_path / "one" / "x.safetensors").read_bytes() == (tmp_path / "two" / "x.safetensors").read_bytes()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_precision_is_as_asked_and_otherwise_stays(diffusers_file: Writer, tmp_path: Path, dtype: str) -> None:
    convert(diffusers_file("sd3"), "diffusers", tmp_path / "small.safetensors", dtype=dtype)
    convert(tmp_path / "small.safetensors", "comfyui", tmp_path / "again.safetensors")
    assert read(tmp_path / "again.safetensors").dtypes == (dtype,)


def test_numbers_that_are_not_finite_are_refused(diffusers_file: Writer, tmp_path: Path) -> None:
    path = tmp_path / "big.safetensors"
    update = {"blocks.0.attn1.to_q": Update(torch.ones(1, 4), torch.full((4, 1), 1e6))}
    writing.write(path, update, FAMILIES["wan"], FAMILIES["wan"].diffusers, dtype="float32", metadata={})
    with pytest.raises(UsageError, match="not finite in float16"):
        convert(path, "comfyui", tmp_path / "x.safetensors", family="wan", dtype="float16")
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_file_is_written_where_comfyui_skips_names_of_the_first(family: str, diffusers_file: Writer) -> None:
    source = diffusers_file(family)
    second = for_comfyui(source)
    needs_one = bool(verify(source).unread["comfyui"])
    assert (second is not None) == needs_one
    assert serves_both(FAMILIES[family]) != needs_one
    assert len(readers(family)) == 1 + needs_one
    if second:
        assert second.name == "aligned_comfyui.safetensors"
        assert verify(second).good
        assert_same_change(source, second, family)


def test_the_readers_of_a_base_that_is_not_known_are_told_by_the_place() -> None:
    assert readers("") == ("diffusers", "ComfyUI")


def test_a_lora_of_an_unknown_family_stays_alone(tmp_path: Path) -> None:
    save_file({"transformer.mystery.lora_A.weight": torch.ones(1, 4)}, tmp_path / "x.safetensors")
    assert for_comfyui(tmp_path / "x.safetensors") is None


def test_a_layer_without_an_original_place_is_refused_in_words(tmp_path: Path) -> None:
    update = {"transformer_blocks.0.norm1_context.linear": Update(torch.ones(1, 4), torch.ones(4, 1))}
    with pytest.raises(UsageError, match="has no place in the original network"):
        writing.spelled(update, FAMILIES["sd3"], COMFYUI)
