"""A clip is to a reward what its frames are, and pictures pass through untouched."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from training import clips

TEXTS = [["a cat", "a dog"], ["a car", "a house"]]


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


def test_a_clips_score_is_the_mean_of_its_frames_with_an_equal_gradient_to_each(clip, linear_reward) -> None:
    reward = linear_reward()
    target = reward.target(TEXTS)
    clip.requires_grad_()
    scores = clips.score(reward, clip, target)
    assert scores.shape == (2, 2)
    assert_close(scores, torch.stack([reward.score(clip[:, n], target) for n in range(4)]).mean(dim=0))
    assert all(seen.ndim == 4 for seen in reward.seen)  # a reward never meets a clip
    scores[:, 0].sum().backward()
    assert_close(clip.grad, target[:, 0][:, None].expand_as(clip) / 4)


def test_pictures_are_scored_by_the_reward_itself(clip, linear_reward) -> None:
    reward = linear_reward()
    pictures, target = clip[:, 0], reward.target(TEXTS)
    assert torch.equal(clips.score(reward, pictures, target), reward.score(pictures, target))
    assert reward.seen[0] is pictures


class Features:
    """The picture itself as its feature."""

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(images.flatten(1), dim=-1)

    def embed_texts(self, texts) -> torch.Tensor:
        raise NotImplementedError


def test_a_clips_feature_is_a_unit_vector_along_the_mean_of_its_frames(clip: torch.Tensor) -> None:
    features = clips.embed(Features(), clip)
    assert_close(features.norm(dim=1), torch.ones(2, dtype=torch.float64))
    mean = torch.stack([Features().embed_images(frame) for frame in clip.unbind(dim=1)]).mean(dim=0)
    assert_close((features * mean).sum(dim=1), mean.norm(dim=1))
    assert torch.equal(clips.embed(Features(), clip[:, 0]), Features().embed_images(clip[:, 0]))
