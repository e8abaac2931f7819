"""What a run leaves in lora/: diffusers' file, and ComfyUI's where that program needs its own, both as strong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import folders

from toolkit import lora_file, recipe
from toolkit.loras.convert import readers
from toolkit.loras.reading import read
from toolkit.loras.verification import Loader, verify
from toolkit.run_folder import DONE, RunFolder
from training import tables
from training.adapters import Policy
from training.bases import BASES
from training.train import save_lora, train

WITH_TWO_FILES = {"flux2", "hunyuan_dit", "sd15", "sdxl", "wan", "z_image"}
WORDS = {"positive": "3d render", "negative": "line art"}


def recipe_of(base: str, *, file_dtype: str = "float32", **parts: Any) -> recipe.Recipe:
    """LoRA on all layers of a tiny base."""
    lora = {"rank": 3, "layers": "all", "file_dtype": file_dtype}
    section = {} if base == "demo" else {"base": folders.section(base).model_dump()}
    return recipe.parse({"name": "taste", "lora": lora, "words": WORDS} | section | parts)


def saved(folder: Path, base: str, *, file_dtype: str = "float32") -> RunFolder:
    """A run folder with the LoRA of a policy whose every adapter weight was drawn anew."""
    content, run = recipe_of(base, file_dtype=file_dtype), RunFolder(folder / base)
    policy = Policy(tables.base(content.base), content.lora, seed=1)
    generator = torch.Generator().manual_seed(5)
    adapter = {name: torch.randn(each.shape, generator=generator) for name, each in policy.adapter_state().items()}
    save_lora(run, content, policy, adapter, 4, None)
    return run


def unread(file: Path, loader: Loader) -> list[str]:
    """Layers that a loader would skip, but for those that only a shallow HunyuanDiT has where it has them."""
    verdict = verify(file, loaders=(loader,))
    assert verdict.problems == []
    return [name for name in verdict.unread[loader] if not name.endswith("skip_linear")]


@pytest.mark.parametrize("base", BASES)
def test_every_program_gets_a_file_that_it_reads_whole_and_plays_as_strong(base: str, tmp_path: Path) -> None:
    files = saved(tmp_path, base).lora_files()
    wanted = ["taste.safetensors", "taste_comfyui.safetensors"][: 1 + (base in WITH_TWO_FILES)]
    assert [path.name for path in files] == wanted
    assert len(readers(base)) == len(files)
    assert unread(files[0], "diffusers") == []
    assert unread(files[-1], "comfyui") == []
    first, last = (read(path) for path in (files[0], files[-1]))
    assert set(first.factors.values()) == set(last.factors.values()) == {1.0}
    assert first.updates.keys() == last.updates.keys()
    for name, update in first.updates.items():
        change = update.delta()
        torch.testing.assert_close(last.updates[name].delta().reshape(change.shape), change, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_both_files_have_the_same_bytes_each_time_and_say_the_same(tmp_path: Path, dtype: str) -> None:
    one, two = (saved(tmp_path / name, "sd15", file_dtype=dtype).lora_files() for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert {str(t.dtype) for path in one for t in load_file(path).values() if t.ndim} == {f"torch.{dtype}"}
    headers = [lora_file.header(path) for path in one]
    assert headers[0] is not None
    assert headers[0] == headers[1]
    titles = [lora_file.read_metadata(path)["modelspec.title"] for path in one]
    assert titles == ["taste", "taste"]


@pytest.mark.slow
def test_a_whole_run_ends_with_both_files(tmp_path: Path) -> None:
    content = recipe_of(
        "sd15",
        method={"name": "refl", "rollout_steps": 2, "first_step": 1, "last_step": 1},
        training={"updates": 2, "batch_size": 2},
        validation={"every": 1, "steps": 2, "previews": 0},
    )
    run = RunFolder.create(tmp_path, content)
    train(run.path)
    assert run.state().status == DONE
    assert [path.name for path in run.lora_files()] == ["taste.safetensors", "taste_comfyui.safetensors"]
    assert [path.name for path in run.lora.iterdir() if path not in run.lora_files()] == []
    assert verify(run.lora_files()[1], loaders=("comfyui",)).good
