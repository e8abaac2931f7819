"""The main road on the shipped world: recipe → LoRA → report → pictures, by the commands a creator types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

import toolkit
from toolkit import lora_file
from toolkit.run_folder import DONE, RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a busy machine is no failure

HOME = str(Path(toolkit.__file__).parents[1])
SHORT = ("--set", "training.updates=4", "--set", "validation.every=2", "--set", "validation.steps=4")


def palate(*arguments: str, cwd: Path, hash_seed: str = "0") -> str:
    environment = {**os.environ, "PYTHONPATH": HOME, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-m", "toolkit.cli", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Finished:
    folder: Path
    run: RunFolder
    said: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The demo recipe, cut short, in an empty folder."""
    folder = tmp_path_factory.mktemp("demo")
    said = palate("train", "demo", *SHORT, cwd=folder, hash_seed="1")
    return Finished(folder, RunFolder(folder / "runs" / "3d-render"), said)


def test_a_run_ends_with_a_lora_and_says_where(finished: Finished) -> None:
    run = finished.run
    assert run.state().status == DONE
    assert "Finished 4 of 4 updates." in finished.said
    assert "LoRA: runs/3d-render/lora/3d-render.safetensors, for diffusers and ComfyUI\n" in finished.said
    assert finished.said.splitlines()[-1].startswith("Next: palate compare runs/3d-render")

    (path,) = run.lora_files()
    header = lora_file.header(path)
    assert header is not None
    assert (header.method, header.base, header.reward) == ("srpo", "palate/demo-world", "demo")
    assert header.words == [{"positive": "3d render", "negative": "line art"}]
    assert header.recipe_hash == run.recipe().digest()
    assert str(finished.folder) not in path.read_bytes().decode("latin-1")


def test_the_events_tell_the_whole_run(finished: Finished) -> None:
    run = finished.run
    assert [event["update"] for event in run.events("update")] == [1, 2, 3, 4]
    assert [event["update"] for event in run.events("check")] == [0, 2, 4]
    assert [event["update"] for event in run.events("checkpoint")] == [0, 2, 4]
    assert run.events("verdict")[-1]["best"] == lora_file.header(run.lora_files()[0]).update  # type: ignore[union-attr]
    for event in run.events("check"):
        assert {"reward", "second", "recall", "diversity", "saturation", "texture"} <= set(event["values"])
        assert set(event["guards"]) >= {"second", "recall", "diversity", "saturation"}


def test_previews_show_the_base_and_every_check(finished: Finished) -> None:
    pictures = finished.run.preview_pictures()
    assert sorted({picture.update for picture in pictures}) == [0, 2, 4]
    assert {picture.prompt_index for picture in pictures} == set(range(6))
    with Image.open(pictures[0].path) as picture:
        assert picture.size == (64, 64)
        assert "a dog" in picture.getexif()[0x010E]


def test_the_report_compares_with_the_held_out_judge(finished: Finished) -> None:
    shown = palate("compare", "3d-render", "--judge", "demo_judge", "--seeds", "1", "--steps", "4", cwd=finished.folder)
    for row in ("trained reward", "second reward", "judge: share in the positive style", "diversity"):
        assert row in shown
    table = json.loads((finished.run.report / "report.json").read_text())
    assert {"prompts": 72, "seeds": 1, "steps": 4}.items() <= table["pictures"].items()
    for side in ("base", "aligned"):
        assert 0 <= table[side]["judge_positive"] <= 1
        assert 0 < table[side]["recall"] <= 1
    with Image.open(finished.run.report / "before_after.png") as sheet:
        assert sheet.width > 8 * 128


def test_pictures_are_drawn_with_the_lora(finished: Finished) -> None:
    palate(
        "sample", "3d-render", "--prompt", "a cat", "--count", "2", "--steps", "4", "--output", "cats",
        cwd=finished.folder,
    )  # fmt: skip
    paths = sorted((finished.folder / "cats").iterdir())
    assert [path.name for path in paths] == ["000.png", "001.png"]
    with Image.open(paths[0]) as first, Image.open(paths[1]) as second:
        assert first.size == (64, 64)
        assert first.tobytes() != second.tobytes()
        assert "a cat" in first.info["parameters"]
        assert "LoRA: 3d-render at 1" in first.info["parameters"]


def test_the_same_recipe_and_seed_give_the_same_bytes(finished: Finished, tmp_path: Path) -> None:
    """Another process, another folder, another order of Python's sets."""
    palate("train", "demo", *SHORT, "--quiet", cwd=tmp_path, hash_seed="2")
    again = RunFolder(tmp_path / "runs" / "3d-render")
    assert again.lora_files()[0].read_bytes() == finished.run.lora_files()[0].read_bytes()
    for name in ("adapter.safetensors", "optimizer.safetensors"):
        place = Path("checkpoints", "000004", name)
        assert (again.path / place).read_bytes() == (finished.run.path / place).read_bytes()
    for mine, other in zip(again.preview_pictures(), finished.run.preview_pictures(), strict=True):
        assert mine.path.read_bytes() == other.path.read_bytes()
