"""What every reward promises, and that its promises in the table are true."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from training import tables
from training.rewards import REWARDS

TEXTS = [["3d render. a cat", "line art. a cat"], ["flat icon. a car", "cartoon. a car"]]


@pytest.fixture(params=REWARDS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def reward(name: str, reward_of):
    return reward_of(name)


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def gives(name: str) -> frozenset[str]:
    return tables.load_class(REWARDS, name).gives


def test_scores_are_float32_one_per_picture_and_text(reward, pictures: torch.Tensor) -> None:
    scores = reward.score(pictures, reward.target(TEXTS))
    assert (scores.shape, scores.dtype) == ((2, 2), torch.float32)
    assert scores.isfinite().all()


def test_a_batch_is_scored_as_its_pictures_one_by_one(reward, pictures: torch.Tensor) -> None:
    together = reward.score(pictures, reward.target(TEXTS))
    alone = torch.cat([reward.score(pictures[i : i + 1], reward.target(TEXTS[i : i + 1])) for i in range(2)])
    assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_gradient_reaches_the_pictures_exactly_when_promised(name: str, reward, pictures: torch.Tensor) -> None:
    promised = "differentiable" in gives(name)
    assert reward.differentiable is promised
    pictures.requires_grad_()
    scores = reward.score(pictures, reward.target(TEXTS))
    assert scores.requires_grad is promised
    if promised:
        scores.sum().backward()
        assert pictures.grad.abs().amax(dim=(1, 2, 3)).min() > 0
    assert all(p.grad is None and not p.requires_grad for p in getattr(reward, "parameters", tuple)())


def test_a_text_conditioned_reward_hears_its_words(name: str, reward, pictures: torch.Tensor) -> None:
    if "text_conditioned" not in gives(name):
        pytest.skip("it does not claim to")
    scores = reward.score(pictures, reward.target(TEXTS))
    assert (scores[:, 0] - scores[:, 1]).abs().min() > 1e-4


def test_features_are_unit_vectors_where_promised(name: str, reward, pictures: torch.Tensor) -> None:
    assert hasattr(reward, "embed_images") is ("image_features" in gives(name))
    if hasattr(reward, "embed_images"):
        assert_close(reward.embed_images(pictures).norm(dim=1), torch.ones(2))
        assert_close(reward.embed_texts(["a cat"]).norm(dim=1), torch.ones(1))


@pytest.mark.parametrize("shape", [(64, 96), (96, 64), (33, 48), (128, 128)])
def test_pictures_of_any_shape_are_scored(reward, shape: tuple[int, int]) -> None:
    pictures = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(4))
    assert reward.score(pictures, reward.target(TEXTS)).isfinite().all()


@pytest.mark.parametrize("wrong", [torch.rand(3, 64, 64), torch.rand(1, 3, 64, 64) * 255, -torch.ones(1, 3, 64, 64)])
def test_what_is_not_a_picture_is_refused(reward, wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="a reward wants"):
        reward.score(wrong, reward.target(TEXTS[:1]))


def test_the_same_text_has_the_same_target(reward) -> None:
    assert_close(reward.target(TEXTS), reward.target(TEXTS), rtol=0, atol=0)
