"""Dot-product rewards: one picture pass for any number of texts, each text encoded once, pictures of any shape."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from training.randomness import key
from training.rewards._dual_encoder import DualEncoder, check_images, to_square

SIZE, MEAN, STD = 8, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
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
        return self.tower(to_square(images, SIZE, MEAN, STD))

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


@pytest.mark.parametrize(
    "images",
    [
        torch.rand(3, 8, 8),
        torch.rand(1, 4, 8, 8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        torch.rand(1, 3, 8, 8) * 255,
        torch.rand(1, 3, 8, 8) * 2 - 1.01,
    ],
    ids=["no batch", "four channels", "bytes", "0 to 255", "-1 to 1"],
)
def test_anything_but_float_pictures_between_0_and_1_is_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="a reward wants"):
        check_images(images)
    with pytest.raises(ValueError, match="a reward wants"):
        TinyEncoder().embed_images(images)


def test_nan_passes_the_check_so_that_the_trainer_can_name_it() -> None:
    check_images(torch.full((1, 3, 8, 8), float("nan")))


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (8, 9), (5, 7)])
def test_a_picture_that_is_not_square_is_resized_by_its_short_side_and_cropped_in_the_middle(shape: tuple) -> None:
    """CLIP's own way: the borders of the long side are not seen."""
    height, width = shape
    picture = torch.full((1, 3, height, width), 0.5)
    seen = to_square(picture, SIZE, MEAN, STD)
    assert seen.shape == (1, 3, SIZE, SIZE)
    expected = (0.5 - torch.tensor(MEAN)) / torch.tensor(STD)
    assert_close(seen.mean(dim=(0, 2, 3)), expected, rtol=1e-4, atol=1e-4)
    scores = TinyEncoder().score(picture, TinyEncoder().target([[POSITIVE]]))
    assert scores.isfinite().all()


def test_the_borders_of_a_wide_picture_are_invisible() -> None:
    middle = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    wide = torch.cat([torch.zeros(1, 3, 8, 8), middle, torch.ones(1, 3, 8, 8)], dim=-1)
    assert_close(to_square(wide, SIZE, MEAN, STD), to_square(middle, SIZE, MEAN, STD))


def test_a_picture_of_the_right_size_is_only_normalised() -> None:
    picture = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    restored = to_square(picture, SIZE, MEAN, STD) * torch.tensor(STD).reshape(3, 1, 1)
    assert_close(restored + torch.tensor(MEAN).reshape(3, 1, 1), picture)


def test_shrinking_is_antialiased() -> None:
    """Fine noise is averaged away (std 0.29 over 64 pixels a piece), not sampled."""
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    assert to_square(noise, SIZE, (0.0,) * 3, (1.0,) * 3).std() < 0.1
