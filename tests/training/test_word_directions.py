"""Directions in a reward's space, against sums done by hand; and what the serving child answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from toolkit import picture_sets
from toolkit.errors import UsageError
from toolkit.recipe import Section
from toolkit.words import WordPair, caption
from training import score, tables
from training.rewards._dual_encoder import DualEncoder
from training.word_directions import WordDirections

CPU = torch.device("cpu")
# Unit vectors in the plane by word; the prompt does not matter to this reader.
PLANE = {"east": (1.0, 0.0), "north": (0.0, 1.0), "west": (-1.0, 0.0), "far": (0.6, 0.8)}


class Plane(DualEncoder):
    """Reads the word of a caption as a point of the plane, and a picture's red and green as one."""

    def text_features(self, texts: list[str]) -> Tensor:  # type: ignore[override]
        return torch.tensor([PLANE[text.partition(".")[0]] for text in texts])

    def image_features(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))[:, :2]


def pair(positive: str, negative: str) -> WordPair:
    return WordPair(positive=positive, negative=negative)


@pytest.fixture
def plane() -> WordDirections:
    return WordDirections(Plane(), ["a dog", "a cat"], CPU)


def test_cosines_of_directions_are_those_done_by_hand(plane: WordDirections) -> None:
    """east−north = (1, −1); west−north = (−1, −1); far−east = (−0.4, 0.8); north−east = (−1, 1)."""
    pairs = [pair("east", "north"), pair("west", "north"), pair("far", "east"), pair("north", "east")]
    found = torch.tensor(plane.cosines(pairs))
    side, low = (sum_ / (2**0.5 * 0.8**0.5) for sum_ in (1.2, 0.4))  # √2 and √(0.16 + 0.64) are the lengths
    expected = [[1, 0, -side, -1], [0, 1, -low, 0], [-side, -low, 1, side], [-1, 0, side, 1]]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)


def test_margins_are_the_pictures_dot_product_with_the_direction(plane: WordDirections, tmp_path: Path) -> None:
    for name, colour in (("red", (255, 0, 0)), ("green", (0, 255, 0)), ("both", (255, 255, 0))):
        Image.new("RGB", (4, 4), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "torn.png").write_bytes(b"no picture")
    names = [str(tmp_path / f"{name}.png") for name in ("red", "green", "both", "torn", "gone")]
    found = plane.margins(pair("east", "north"), names)
    assert found[:3] == pytest.approx([1, -1, 0], abs=1e-6)
    assert found[3:] == [None, None]


def test_a_changed_picture_is_looked_at_again(plane: WordDirections, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for colour, margin in (((255, 0, 0), 1.0), ((0, 250, 0), -1.0)):
        Image.new("RGB", (4 + colour[1], 4), colour).save(path)
        assert plane.margins(pair("east", "north"), [str(path)]) == pytest.approx([margin])


@pytest.mark.parametrize("name", ["demo", "demo_second"])
def test_the_demos_rewards_agree_with_the_definition(name: str) -> None:
    reward = tables.reward(Section(name=name))
    prompts = score.some_prompts()[:3]
    pairs = [pair("3d render", "line art"), pair("cartoon", "line art")]
    found = WordDirections(reward, prompts, CPU).cosines(pairs)
    raw = []
    for one in pairs:
        texts = [[caption(word, prompt) for prompt in prompts] for word in (one.positive, one.negative)]
        units = [torch.stack([v / v.norm() for v in reward.text_features(side)]).double() for side in texts]
        raw.append(units[0].mean(dim=0) - units[1].mean(dim=0))
    by_hand = raw[0] @ raw[1] / (raw[0].norm() * raw[1].norm())
    assert found[0][1] == found[1][0] == pytest.approx(float(by_hand), abs=1e-5)
    assert found[0][0] == pytest.approx(1, abs=1e-6)


class OnlyScores:
    """A reward that reads picture and text together: brightness, signed by the word's length."""

    def target(self, texts: list[list[str]]) -> list[list[int]]:
        return [[len(text) for text in row] for row in texts]

    def score(self, images: Tensor, target: list[list[int]]) -> Tensor:
        return images.mean(dim=(1, 2, 3))[:, None] * torch.tensor(target)


def test_a_reward_without_directions_still_ranks_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "white.png")
    directions = WordDirections(OnlyScores(), ["a dog"], CPU)
    assert directions.margins(pair("four", "a"), [str(tmp_path / "white.png")]) == pytest.approx([3.0])
    with pytest.raises(UsageError, match="has no directions"):
        directions.cosines([pair("four", "a")])


def test_the_child_answers_a_line_with_a_line() -> None:
    answering = score.Answering()

    def ask(**question: object) -> dict:
        return score._line(json.dumps({"reward": "demo", "pairs": [["3d render", "line art"]], **question}), answering)

    assert ask(ask="cosines")["answer"] == [[pytest.approx(1, abs=1e-6)]]
    shown = picture_sets.demo().names
    render, line = ask(ask="margins", pictures=[shown[0], shown[2 * picture_sets.SUBJECTS]])["answer"]
    assert render > line
    assert "Did you mean" in ask(ask="cosines", reward="demoo")["error"]
    assert "must differ" in ask(ask="cosines", pairs=[["a", "A"]])["error"]
    assert "error" in ask(ask="everything")
    assert "error" in score._line("no JSON", answering)
