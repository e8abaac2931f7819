"""The two aesthetic predictors: a linear head on unit features, brought by the user, deaf to the prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from toolkit.errors import UsageError
from training import tables

NAMES = ("aesthetic_v25", "laion_aesthetic")


@pytest.mark.parametrize("name", NAMES)
def test_the_score_is_one_affine_map_of_the_unit_features(name: str, tiny: Callable[..., Any], photos: Tensor) -> None:
    reward = tiny(name)
    weights = [(layer.weight.double(), layer.bias.double()) for layer in reward.head.values()]
    direction, offset = torch.eye(weights[0][0].shape[1], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for weight, bias in weights:
        direction, offset = weight @ direction, weight @ offset.expand(weight.shape[1]) + bias
    features = functional.normalize(reward.features(reward.prepare(photos)).double(), dim=-1)
    expected = (features @ direction.T + offset)[:, 0]
    assert_close(reward.score(photos, reward.target([["any"]] * 3))[:, 0].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_words_make_no_difference(name: str, tiny: Callable[..., Any], photos: Tensor) -> None:
    reward = tiny(name)
    scores = reward.score(photos, reward.target([["3d render. a cat", "line art. a cat"]] * 3))
    assert torch.equal(scores[:, 0], scores[:, 1])
    assert "text_conditioned" not in reward.gives
    assert not hasattr(reward, "embed_texts")


@pytest.mark.parametrize(("name", "file"), [(NAMES[0], "aesthetic_predictor_v2_5.pth"), (NAMES[1], "linearMSE.pth")])
def test_without_its_head_it_says_which_file_to_bring(name: str, file: str, reward_section: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=rf"the setting `head` is empty\. Download \S*{file}"):
        tables.reward(reward_section(name, head=""))


def test_the_wrong_head_is_refused_in_the_names_of_its_file(reward_section: Callable[..., Any]) -> None:
    other = reward_section("laion_aesthetic").settings["head"]
    with pytest.raises(UsageError, match=r"missing, first `scoring_head\.0\.bias`; 10 names unknown, first `layers\.0"):
        tables.reward(reward_section("aesthetic_v25", head=other))
