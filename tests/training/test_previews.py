"""Pictures on disk: exact, labelled, and telling where they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training import previews


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def test_a_picture_is_rounded_to_8_bit_and_kept_in_range() -> None:
    image = torch.tensor([[-0.2, 0.5], [0.499, 1.7]]).expand(3, 2, 2)
    assert np.asarray(previews.to_picture(image))[..., 0].tolist() == [[0, 128], [127, 255]]


def test_previews_are_lossless_and_carry_caption_and_settings(tmp_path: Path, pictures: torch.Tensor) -> None:
    paths = previews.save(tmp_path, 20, pictures, ["a cat", "ein Bär"], "euler, 12 steps")
    assert [path.name for path in paths] == ["000020_00.webp", "000020_01.webp"]
    for path, expected, caption in zip(paths, pictures, ["a cat", "ein Bär"], strict=True):
        with Image.open(path) as picture:
            assert np.array_equal(np.asarray(picture), np.asarray(previews.to_picture(expected)))
            description = picture.getexif()[0x010E].encode("latin-1").decode()  # Pillow reads bytes as latin-1
            assert description == f"{caption}\neuler, 12 steps, update 20"


def test_clips_are_endless_animations_at_their_own_rate(tmp_path: Path) -> None:
    clips = torch.linspace(0, 1, 5).reshape(1, 5, 1, 1, 1).expand(2, 5, 3, 16, 24)
    paths = previews.save(tmp_path, 20, clips, ["a cat", "ein Bär"], "euler, 12 steps", frames_per_second=16)
    assert [path.name for path in paths] == ["000020_00.webp", "000020_01.webp"]
    with Image.open(paths[1]) as picture:
        assert (picture.n_frames, picture.info["loop"]) == (5, 0)
        assert picture.getexif()[0x010E].encode("latin-1").decode() == "ein Bär\neuler, 12 steps, update 20"
        for number in range(5):
            picture.seek(number)
            assert abs(np.asarray(picture.convert("RGB")).mean() - 255 * number / 4) < 3
            assert picture.info["duration"] == round(1000 / 16)


def test_a_sheet_has_one_row_per_label_and_one_column_per_caption(pictures: torch.Tensor) -> None:
    rows = [("base", pictures), ("with the LoRA", pictures.flip(0))]
    sheet = previews.grid(rows, ["a cat", "a very long caption that has to be cut somewhere"], zoom=2)
    cell = (24 * 2 + previews.GAP, 16 * 2 + previews.GAP)
    assert sheet.size == (150 + 2 * cell[0], previews.LABEL_HEIGHT + 2 * cell[1])
    first = np.asarray(sheet.crop((150, previews.LABEL_HEIGHT, 150 + 48, previews.LABEL_HEIGHT + 32)))
    assert np.abs(first.astype(int).mean() - 255 * pictures[0].mean().item()) < 4


def test_a_png_carries_its_text(tmp_path: Path, pictures: torch.Tensor) -> None:
    path = tmp_path / "picture.png"
    previews.save_png(path, previews.to_picture(pictures[0]), {"parameters": "a cat\nSteps: 20, Sampler: Euler"})
    with Image.open(path) as picture:
        assert picture.text["parameters"] == "a cat\nSteps: 20, Sampler: Euler"
