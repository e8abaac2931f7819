"""A mixture is the sum it says it is, of parts it knows nothing about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from toolkit.errors import UsageError
from toolkit.recipe import Section
from training import tables
from training.rewards.mixture import Mixture, Part

PAIR = ["3d render. a cat", "line art. a cat"]


def mixture(*parts: dict[str, Any]) -> Any:
    return tables.reward(Section(name="mixture", settings={"parts": list(parts)}))


@pytest.fixture
def sections(reward_section: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    return {name: reward_section(name).model_dump() for name in ("hpsv21", "pickscore", "laion_aesthetic")}


def test_it_is_the_weighted_sum_of_normalised_scores(sections: dict, tiny: Callable[..., Any], photos: Tensor) -> None:
    mixed = mixture(
        {"reward": sections["hpsv21"], "weight": 2.0, "mean": 0.3, "std": 0.05},
        {"reward": sections["pickscore"], "weight": 0.5, "mean": 20.0, "std": 4.0},
    )
    hps, pick = ((r := tiny(name)).score(photos, r.target([PAIR] * 3)) for name in ("hpsv21", "pickscore"))
    expected = 2.0 * (hps - 0.3) / 0.05 + 0.5 * (pick - 20.0) / 4.0
    assert_close(mixed.score(photos, mixed.target([PAIR] * 3)), expected)


def test_between_two_words_only_the_spread_matters_and_deaf_parts_vanish(
    sections: dict, tiny: Callable[..., Any], photos: Tensor
) -> None:
    mixed = mixture({"reward": sections["hpsv21"], "mean": 7.0, "std": 0.05}, {"reward": sections["laion_aesthetic"]})
    scores = mixed.score(photos, mixed.target([PAIR] * 3))
    hps = (reward := tiny("hpsv21")).score(photos, reward.target([PAIR] * 3))
    assert_close(scores[:, 0] - scores[:, 1], (hps[:, 0] - hps[:, 1]) / 0.05, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_the_sum_of_the_parts(sections: dict, tiny: Callable[..., Any], photos: Tensor) -> None:
    mixed = mixture({"reward": sections["hpsv21"], "std": 0.5}, {"reward": sections["laion_aesthetic"], "weight": 3.0})
    photos.requires_grad_()
    (together,) = torch.autograd.grad(mixed.score(photos, mixed.target([PAIR] * 3)).sum(), photos)
    apart = torch.zeros_like(together)
    for name, factor in (("hpsv21", 2.0), ("laion_aesthetic", 3.0)):
        reward = tiny(name)
        apart += factor * torch.autograd.grad(reward.score(photos, reward.target([PAIR] * 3)).sum(), photos)[0]
    assert_close(together, apart, rtol=1e-4, atol=1e-6)


def test_videos_go_to_each_part_as_videos(sections: dict, tiny: Callable[..., Any], photos: Tensor) -> None:
    mixed = mixture({"reward": sections["hpsv21"]})
    hps = tiny("hpsv21")
    assert_close(mixed.score(photos[None], mixed.target([PAIR])), hps.score(photos[None], hps.target([PAIR])))
    assert mixed.frames_scored == 3


def test_parts_move_and_hash_with_the_mixture(sections: dict) -> None:
    mixed = mixture({"reward": sections["hpsv21"]})
    assert any("visual.conv1" in name for name in mixed.state_dict())
    assert not any(parameter.requires_grad for parameter in mixed.parameters())


def test_a_part_without_weights_of_its_own_is_welcome(photos: Tensor) -> None:
    class Brightness:
        def target(self, texts: Any) -> Tensor:
            return torch.zeros(len(texts), len(texts[0]))

        def score(self, images: Tensor, target: Tensor) -> Tensor:
            return images.mean(dim=(1, 2, 3))[:, None] + target

    settings = Mixture.Settings(parts=(Part(reward=Section(name="brightness"), weight=2.0),))
    mixed = Mixture(settings, [Brightness()])
    assert_close(mixed.score(photos, mixed.target([PAIR] * 3))[:, 1], 2 * photos.mean(dim=(1, 2, 3)))


def test_a_held_out_part_is_refused() -> None:
    with pytest.raises(UsageError, match="`demo_judge` judges the final report and may not be part of `mixture`"):
        mixture({"reward": "demo"}, {"reward": "demo_judge"})


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"reward": "hpsv12"}, r"`hpsv12` is not in the table\. Did you mean `hpsv21`"),
        ({"reward": "demo", "std": 0}, r"`mixture\.parts\.0\.std` is not right: Input should be greater than 0"),
        ({"reward": {"name": "clip", "variant": "cosin"}}, r"`clip\.variant` is not right"),
    ],
)
def test_a_wrong_part_is_named(part: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        mixture(part)


def test_an_empty_mixture_is_refused() -> None:
    with pytest.raises(UsageError, match=r"`mixture\.parts` is not right"):
        mixture()
