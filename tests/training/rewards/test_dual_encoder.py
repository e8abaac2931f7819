"""Dot-product rewards: one picture pass for any number of texts, each text encoded once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from training.randomness import key
from training.rewards._dual_encoder import DualEncoder
from training.rewards._pictures import Preprocessing

SIZE, MEAN, STD = 8, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
PREPARE = Preprocessing(SIZE, MEAN, STD)
POSITIVE, NEGATIVE = "3d. a cat", "flat. a cat"


class TinyEncoder(DualEncoder):
    """A convolution and a table of random text vectors; counts its passes. float32."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.tower = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.GELU(), nn.Flatten(), nn.Linear(54, 5))
        self.requires_grad_(False)
        self.passes = 0
        self.encoded: list[str] = []

    def image_features(self, images: Tensor) -> Tensor:
        self.passes += 1
        return self.tower(PREPARE(images))

    def text_features(self, texts) -> Tensor:
        self.encoded += texts
        return torch.stack([torch.randn(5, generator=torch.Generator().manual_seed(key(text))) for text in texts])


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def pair_target(reward: DualEncoder, count: int = 3) -> Tensor:
    return reward.target([[POSITIVE, NEGATIVE]] * count)


def test_a_score_is_the_cosine_of_picture_and_text(pictures: Tensor) -> None:
    reward = TinyEncoder()
    raw_text = reward.text_features([NEGATIVE])[0]
    raw_picture = reward.image_features(pictures)[1]
    expected = functional.cosine_similarity(raw_picture, raw_text, dim=0)
    assert_close(reward.score(pictures, pair_target(reward))[1, 1], expected)


def test_every_text_is_encoded_once() -> None:
    reward = TinyEncoder()
    first = pair_target(reward)
    assert torch.equal(pair_target(reward), first)
    assert reward.encoded == [POSITIVE, NEGATIVE]
    assert first.shape == (3, 2, 5)
    assert not first.requires_grad


def test_a_batch_is_scored_as_its_pictures_one_by_one(pictures: Tensor) -> None:
    reward = TinyEncoder()
    target = pair_target(reward)
    alone = torch.cat([reward.score(pictures[i : i + 1], target[i : i + 1]) for i in range(3)])
    assert_close(reward.score(pictures, target), alone, rtol=1e-5, atol=1e-6)


def test_one_pass_over_a_picture_equals_two_passes_and_so_do_the_gradients(pictures: Tensor) -> None:
    """Oracle 8: f(x) . s((1+k) C1 - C2) = (1+k) R(pos) - R(neg), gradients to 1e-5."""
    reward, k = TinyEncoder(), 0.3
    once, twice = pictures.clone().requires_grad_(), pictures.clone().requires_grad_()
    scores = reward.score(once, pair_target(reward))
    shared = (1 + k) * scores[:, 0] - scores[:, 1]
    assert reward.passes == 1
    positive = reward.score(twice, reward.target([[POSITIVE]] * 3))[:, 0]
    negative = reward.score(twice, reward.target([[NEGATIVE]] * 3))[:, 0]
    apart = (1 + k) * positive - negative
    assert reward.passes == 3
    assert_close(shared, apart, rtol=1e-5, atol=1e-6)
    shared.sum().backward()
    apart.sum().backward()
    assert_close(once.grad, twice.grad, rtol=1e-5, atol=1e-5)


def test_the_gradient_reaches_the_pixels_and_no_weight(pictures: Tensor) -> None:
    """Oracle 13, the reward's part."""
    reward = TinyEncoder()
    pictures.requires_grad_()
    reward.score(pictures, pair_target(reward)).sum().backward()
    assert pictures.grad.abs().amax(dim=(1, 2, 3)).min() > 0
    assert all(parameter.grad is None for parameter in reward.parameters())


def test_features_have_length_one(pictures: Tensor) -> None:
    reward = TinyEncoder()
    assert_close(reward.embed_images(pictures).norm(dim=1), torch.ones(3))
    assert_close(reward.embed_texts([POSITIVE, NEGATIVE]).norm(dim=1), torch.ones(2))


def test_a_moved_reward_forgets_its_texts_so_that_none_stays_behind_on_another_device() -> None:
    reward = TinyEncoder()
    pair_target(reward)
    reward.to(torch.float64)
    pair_target(reward)
    assert reward.encoded == [POSITIVE, NEGATIVE] * 2


def test_another_control_word_is_another_text() -> None:
    """Oracle 6: nothing of an earlier word's features is used for a later one."""
    reward = TinyEncoder()
    first = reward.target([[POSITIVE]])
    second = reward.target([["clay. a cat"]])
    assert not torch.equal(first, second)
    assert torch.equal(second, TinyEncoder().target([["clay. a cat"]]))


def test_a_video_is_the_mean_of_its_evenly_spaced_frames(pictures: Tensor) -> None:
    reward = TinyEncoder()
    videos = torch.rand(2, 20, 3, 12, 12, generator=torch.Generator().manual_seed(6))
    scores = reward.score(videos, pair_target(reward, 2))
    assert reward.frames_scored == 8
    frames = [1, 3, 6, 8, 11, 13, 16, 18]  # the middles of eight stretches of 2.5 frames
    each = torch.stack([reward.score(videos[:, i], pair_target(reward, 2)) for i in frames])
    assert_close(scores, each.mean(dim=0), rtol=1e-5, atol=1e-6)
    assert reward.frames_scored == 1
    assert_close(reward.embed_images(videos).norm(dim=1), torch.ones(2))


def test_a_short_video_is_scored_whole() -> None:
    reward = TinyEncoder()
    reward.score(torch.rand(1, 3, 3, 12, 12), pair_target(reward, 1))
    assert reward.frames_scored == 3
