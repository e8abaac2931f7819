"""Frames and posters of clips; pictures pass through untouched."""

from __future__ import annotations

import pytest
import torch

from training import clips


@pytest.fixture
def clip() -> torch.Tensor:
    """Two clips of four frames, of the paper world's size."""
    return torch.rand(2, 4, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_frames_stay_in_time_order_and_pictures_as_they_are(clip: torch.Tensor) -> None:
    assert torch.equal(clips.frames(clip)[5], clip[1, 1])
    pictures = clip[:, 0]
    assert clips.frames(pictures) is pictures
    assert clips.posters(pictures) is pictures


def test_the_middle_frame_stands_for_a_clip(clip: torch.Tensor) -> None:
    assert torch.equal(clips.posters(clip), clip[:, 2])
