"""Weights from where people have them: folders, part files of a ComfyUI, quantised; and a sentence for each mistake."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import folders

from toolkit.errors import UsageError
from toolkit.recipe import Lora, Section
from training import blueprint, sources, tables
from training.adapters import Policy


def base(name: str = "sd15", **settings: Any) -> Any:
    section = folders.section(name)
    return tables.base(Section(name=name, settings=section.settings | settings))


def answer(policy: Policy) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(2, *policy.latent_shape, generator=generator)
    level = policy.schedule.level(torch.tensor([0.3, 0.8]))
    return policy.predict(x_t, level, policy.base.encode(["a cat", "a dog"]), 2.0).noise


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """A ComfyUI with a text encoder in its own folder and another below extra_model_paths.yaml."""
    source, root = folders.folder("flux"), tmp_path / "ComfyUI"
    (root / "models" / "text_encoders" / "t5").mkdir(parents=True)
    (tmp_path / "elsewhere" / "clip").mkdir(parents=True)
    t5 = load_file(source / "text_encoder_2" / "model.safetensors")
    save_file(
        {name: torch.zeros_like(value) for name, value in t5.items()},
        root / "models/text_encoders/t5/t5xxl.safetensors",
    )
    shutil.copy(source / "text_encoder" / "model.safetensors", tmp_path / "elsewhere" / "clip" / "clip_l.safetensors")
    extra = f"mine:\n  base_path: {tmp_path / 'elsewhere'}\n  text_encoders: |\n    clip\n    more\n"
    (root / "extra_model_paths.yaml").write_text(extra, encoding="utf-8")
    return root


def test_text_parts_come_from_comfyuis_folders(comfyui: Path) -> None:
    parts = {"text_encoder": "clip_l.safetensors", "text_encoder_2": "t5/t5xxl.safetensors"}
    theirs = base("flux", parts=parts, comfyui=str(comfyui)).encode(["a cat"])
    ours = base("flux").encode(["a cat"])
    assert torch.equal(theirs["pooled"], ours["pooled"])
    assert not torch.equal(theirs["states"], ours["states"])  # the planted zeros were read


def test_an_unknown_file_is_refused_with_the_nearest_that_is_there(comfyui: Path) -> None:
    with pytest.raises(UsageError, match=r"no model file `clip_g.safetensors`.*Did you mean `clip_l.safetensors`"):
        base("flux", parts={"text_encoder": "clip_g.safetensors"}, comfyui=str(comfyui)).encode(["a"])


def test_a_name_cannot_climb_out_of_the_model_folders(comfyui: Path) -> None:
    with pytest.raises(UsageError, match="no model file"):
        base("flux", parts={"text_encoder": "../../../elsewhere/clip/clip_l.safetensors"}, comfyui=str(comfyui)).encode(
            ["a"]
        )


def test_an_unknown_part_is_refused(comfyui: Path) -> None:
    file = comfyui / "models/text_encoders/t5/t5xxl.safetensors"
    with pytest.raises(UsageError, match=r"`text_encoder_9` is not a part.*transformer"):
        base("flux", parts={"text_encoder_9": str(file)}).encode(["a"])


def test_a_part_of_another_family_is_refused_by_name(comfyui: Path) -> None:
    file = comfyui / "models/text_encoders/t5/t5xxl.safetensors"
    with pytest.raises(UsageError, match=r"`t5xxl.safetensors` lacks \d+ weights of `text_encoder`"):
        base("flux", parts={"text_encoder": str(file)}).encode(["a"])


def test_int8_weights_answer_alike_and_still_train_a_lora() -> None:
    pytest.importorskip("torchao")
    plain, small = (
        Policy(base("flux", quantisation=kind), Lora(rank=2), seed=1) for kind in ("none", "int8_weight_only")
    )
    before, after = answer(plain), answer(small)
    assert 0 < (after - before).norm() / before.norm() < 0.05
    after.square().mean().backward()
    moved = [p.grad.abs().sum() for name, p in small.trainable().items() if "lora_B" in name]
    assert torch.stack(moved).min() > 0


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"could not be loaded as a StableDiffusionPipeline"):
        base(weights=str(tmp_path))


def test_a_name_that_is_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no file or folder `nothing`, and it is no Hub id"):
        base(weights="nothing")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    shutil.copytree(folders.folder("sd15"), tmp_path / "half")
    file = tmp_path / "half" / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"`half` could not be loaded.*half-downloaded"):
        base(weights=str(tmp_path / "half"))


def test_another_familys_folder_is_refused() -> None:
    with pytest.raises(UsageError, match=r"could not be loaded as a StableDiffusionPipeline"):
        base(weights=str(folders.folder("flux")))


def test_text_encoders_leave_and_come_back() -> None:
    loaded = base()
    first = loaded.encode(["a cat"])["states"]
    loaded.release_text()
    assert loaded._text is None
    assert torch.equal(loaded.encode(["a cat"])["states"], first)


def test_the_caches_name_depends_on_the_text_files_and_not_on_the_picture_size(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folders.folder("sd15"), copy)
    before = base(weights=str(copy)).text_id
    assert base(weights=str(copy), width=64).text_id == before
    (copy / "text_encoder" / "model.safetensors").touch()
    assert base(weights=str(copy)).text_id != before


@pytest.mark.parametrize("name", ["flux2", "hunyuan_dit", "qwen_image"])
def test_a_family_that_diffusers_reads_from_folders_alone_refuses_a_single_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"`model\.safetensors` could not be loaded .* from a folder or the Hub only"):
        tables.base(Section(name=name, settings={"weights": str(path)}))


def test_a_published_base_on_paper_never_asks_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "locate", lambda *_: pytest.fail("the Hub was asked"))
    with blueprint.weightless():
        on_paper = tables.base(Section(name="sd15"))
        assert on_paper.lora_facts.base_name == "stable-diffusion-v1-5/stable-diffusion-v1-5"
        assert on_paper.text_id
