"""Comparisons on the demo world: their pictures are those of `palate sample`, by a worker that may die at any time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from PIL import Image, ImageChops

from toolkit import recipe
from toolkit.comparison import Cell, Comparison, Request, check, column
from toolkit.comparison_folder import ComparisonFolder, Comparisons
from toolkit.recipe import Recipe
from toolkit.run_folder import DONE, FAILED, INTERRUPTED, STOPPED, RunFolder, below
from training import build, comparison
from training.checkpoint import Checkpoints
from training.comparison import Painter
from training.randomness import Rng
from training.sample import sample
from training.train import save_lora

STEPS = 2
PROMPT = "a tiger face"
Drawn = Callable[..., tuple[ComparisonFolder, Request]]


def made_up_run(root: Path, name: str, rank: int, layers: str) -> RunFolder:
    """A run whose LoRA is noise, strong enough to be seen; its checkpoint 3 holds the same weights."""
    content = recipe.parse(
        {
            "name": name, "words": {"positive": "3d render", "negative": "line art"},
            "lora": {"rank": rank, "layers": layers, "file_dtype": "float32"},
        }
    )  # fmt: skip
    run = RunFolder.create(root, content)
    policy = build.stage(content, torch.device("cpu")).policy
    zero = policy.adapter_state()
    adapter = {
        key: value if "lora_A" in key else 0.1 * Rng(rank, 0, (0,)).normal(key, value.shape)[0]
        for key, value in zero.items()
    }
    save_lora(run, content, policy, adapter, 3, None)
    Checkpoints(run.checkpoints, content.digest(), 1).save(3, adapter, {}, 0)
    return run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("comparisons") / "runs"
    made_up_run(root, "wide", 8, "all")
    made_up_run(root, "narrow", 2, "attention")
    return root


@pytest.fixture(scope="module")
def comparisons(root: Path) -> Comparisons:
    return Comparisons(root)


@pytest.fixture(scope="module")
def painter(comparisons: Comparisons) -> Painter:
    return Painter(comparisons)


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Comparisons, "_has_worker", lambda self: True)


@pytest.fixture
def drawn(comparisons: Comparisons, painter: Painter, no_worker: None) -> Drawn:
    def drawn(*columns: str, prompt: str = PROMPT, pictures: int = 1) -> tuple[ComparisonFolder, Request]:
        folder = comparisons.ask(wish(*columns, prompt=prompt, pictures=pictures))
        while painter.draw_next():
            pass
        progress = comparisons.progress(folder)
        assert progress.status == DONE, progress
        return folder, folder.request()

    return drawn


def wish(*columns: str, prompt: str = PROMPT, pictures: int = 1) -> Comparison:
    return check(columns=[column(c) for c in columns], prompts=[prompt], pictures=pictures, steps=STEPS)


def content_of(root: Path, name: str) -> Recipe:
    return below(root, name).recipe()


def is_same_picture(one: Path, other: Path) -> bool:
    with Image.open(one) as first, Image.open(other) as second:
        return ImageChops.difference(first.convert("RGB"), second.convert("RGB")).getbbox() is None


def test_columns_are_the_pictures_of_palate_sample_to_the_byte(root: Path, drawn: Drawn, tmp_path: Path) -> None:
    folder, request = drawn("base", "wide", "wide*0.5", "wide*0", "wide@3", "wide+3d render", pictures=2)
    lora = below(root, "wide").lora_files()[0]
    styled = request.comparison.columns[5].text(PROMPT)
    assert styled != PROMPT
    samples = {
        0: sample(content_of(root, "wide"), None, PROMPT, tmp_path / "0", count=2, strength=1.0, steps=STEPS),
        1: sample(content_of(root, "wide"), lora, PROMPT, tmp_path / "1", count=2, strength=1.0, steps=STEPS),
        2: sample(content_of(root, "wide"), lora, PROMPT, tmp_path / "2", count=2, strength=0.5, steps=STEPS),
        5: sample(content_of(root, "wide"), lora, styled, tmp_path / "5", count=2, strength=1.0, steps=STEPS),
    }
    for number, paths in samples.items():
        for picture, path in enumerate(paths):
            ours = folder.picture(request, Cell(number, 0, picture))
            assert ours.read_bytes() == path.read_bytes(), (number, picture)
    base, full, half, nothing, checkpoint, _ = (folder.picture(request, Cell(number, 0, 0)) for number in range(6))
    assert is_same_picture(nothing, base)
    assert is_same_picture(checkpoint, full)
    assert not is_same_picture(full, base)
    assert not is_same_picture(half, full)
    with Image.open(folder.sheet) as sheet:
        assert sheet.width > 6 * 64


def test_loras_of_different_shape_share_one_loaded_base(
    root: Path, comparisons: Comparisons, no_worker: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    bare_base = build.bare_base
    monkeypatch.setattr(build, "bare_base", lambda content: loaded.append(1) or bare_base(content))
    folder = comparisons.ask(wish("wide", "narrow", "base", "wide*0.75", prompt="a dog"))
    other = comparisons.ask(wish("narrow", "base", prompt="a deer"))
    painter = Painter(comparisons)
    assert (painter.draw_next(), painter.draw_next(), painter.draw_next()) == (True, True, False)
    assert len(loaded) == 1
    lora = below(root, "narrow").lora_files()[0]
    (expected,) = sample(content_of(root, "narrow"), lora, "a dog", tmp_path, count=1, strength=1.0, steps=STEPS)
    assert folder.picture(folder.request(), Cell(1, 0, 0)).read_bytes() == expected.read_bytes()
    assert comparisons.progress(other).status == DONE


def test_a_picture_is_drawn_once_for_all_comparisons(drawn: Drawn) -> None:
    folder, request = drawn("base", "wide", prompt="a unicorn")
    base = folder.picture(request, Cell(0, 0, 0))
    Image.new("RGB", (64, 64), (1, 2, 3)).save(base)  # so that it can be told from one drawn anew
    other, its_request = drawn("narrow", "base", prompt="a unicorn")
    assert other.picture(its_request, Cell(1, 0, 0)).read_bytes() == base.read_bytes()


def test_a_lora_that_changed_meanwhile_fails_in_words_and_the_next_is_drawn(
    root: Path, comparisons: Comparisons, painter: Painter, no_worker: None
) -> None:
    run = made_up_run(root, "restless", 2, "attention")
    folder = comparisons.ask(wish("base", "restless", prompt="a fox"))
    healthy = comparisons.ask(wish("base", "narrow", prompt="a fox"))
    lora = run.lora_files()[0]
    lora.write_bytes(lora.read_bytes())
    while painter.draw_next():
        pass
    progress = comparisons.progress(folder)
    assert (progress.status, progress.can_retry) == (FAILED, True)
    assert "has changed since" in progress.message
    assert comparisons.progress(healthy).status == DONE


def test_a_stopped_comparison_keeps_what_was_drawn(
    comparisons: Comparisons, painter: Painter, no_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = comparisons.ask(wish("base", "wide", prompt="a snail", pictures=3))
    save = comparison._save

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        comparisons.stop(folder.name)

    monkeypatch.setattr(comparison, "_save", save_and_stop)
    painter.draw_next()
    assert comparisons.progress(folder).status == STOPPED
    assert len(list(folder.path.glob("*.png"))) == 1
    assert not folder.sheet.exists()


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def own_root(root: Path, tmp_path: Path) -> Iterator[Comparisons]:
    """A folder of its own with a worker of its own."""
    made_up_run(tmp_path, "taste", 2, "attention")
    comparisons = Comparisons(tmp_path)
    yield comparisons
    for child in psutil.Process().children():
        if "draw" in child.cmdline():
            child.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_worker_leaves_its_pictures_and_another_try_draws_the_rest(own_root: Comparisons) -> None:
    folder = own_root.ask(check(columns=[{}, {"run": "taste"}], prompts=[PROMPT], pictures=8, steps=20))
    wait_for(lambda: list(folder.path.glob("[!.]*.png")))
    process = psutil.Process(folder.raw_state()["pid"])
    process.kill()
    wait_for(lambda: not own_root.progress(folder).is_active)
    assert own_root.progress(folder).status == INTERRUPTED
    kept = {path: path.stat().st_mtime_ns for path in folder.path.glob("[!.]*.png")}
    assert 0 < len(kept) < 16
    own_root.retry(folder.name)
    wait_for(lambda: own_root.progress(folder).status == DONE)
    assert len(list(folder.path.glob("[!.]*.png"))) == 17  # with the sheet
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
