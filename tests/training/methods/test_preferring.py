"""One score per picture, from words or from the prompt alone."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from training.contracts import PromptBatch
from training.methods._preferring import Preferring

SCORES = torch.tensor([[3.0, 1.0], [0.5, 2.0]])


@pytest.mark.parametrize(
    ("preference", "texts"),
    [
        ("relative", [["3d. a cat", "flat. a cat"], ["sharp. a dog", "blurry. a dog"]]),
        ("positive", [["3d. a cat"], ["sharp. a dog"]]),
        ("plain", [["a cat"], ["a dog"]]),
    ],
)
def test_the_reward_is_asked_about_these_texts(linear_reward, batch: PromptBatch, preference: str, texts: list) -> None:
    reward = linear_reward()
    Preferring(preference=preference).preference_target(reward, batch)
    assert reward.texts == [texts]


def test_relative_is_the_difference_the_words_make() -> None:
    assert_close(Preferring(preference="relative").preferred(SCORES), torch.tensor([2.0, -1.5]))
    for alone in ("positive", "plain"):
        assert_close(Preferring(preference=alone).preferred(SCORES[:, :1]), torch.tensor([3.0, 0.5]))


def test_a_plain_prompt_needs_no_words(linear_reward) -> None:
    reward = linear_reward()
    Preferring(preference="plain").preference_target(reward, PromptBatch(["a cat"], {}, []))
    assert reward.texts == [[["a cat"]]]
