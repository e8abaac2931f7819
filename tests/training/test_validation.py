"""Validation pictures are fixed whatever else happens, and the panel measures them under the right words."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from toolkit.prompts import Prompt
from toolkit.words import WordPair
from training.randomness import key
from training.rewards._dual_encoder import DualEncoder
from training.validation import Panel, Renderer

PAIRS = [WordPair(positive="3d", negative="flat"), WordPair(positive="sharp", negative="blurry")]
PROMPTS = [Prompt("a red cat", "cat"), Prompt("a dog", "dog"), Prompt("a blue cat", "cat")]


def encode(prompts) -> dict[str, torch.Tensor]:
    return {"text": torch.zeros(len(prompts), 1)}


class Scorer(DualEncoder):
    """The picture itself and random numbers as features; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    def text_features(self, texts) -> torch.Tensor:
        return torch.stack([torch.randn(48, generator=torch.Generator().manual_seed(key(text))) for text in texts])

    def image_features(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) - 0.5

    def target(self, texts) -> torch.Tensor:
        self.asked = [list(row) for row in texts]
        return super().target(texts)


def renderer(policy, **changes) -> Renderer:
    settings = {"steps": 3, "guidance_scale": 1.0, "seed": 4, "purpose": "validation", "batch_size": 4}
    return Renderer(policy, encode, **settings | changes)


def showing(scorer: Scorer, texts: list[str]) -> torch.Tensor:
    """Pictures [B, 3, 4, 4] whose feature is that of these texts."""
    return 0.5 + 0.5 * scorer.embed_texts(texts).reshape(-1, 3, 4, 4)


def test_pictures_are_the_same_whenever_and_with_whomever_they_are_rendered(bending_policy) -> None:
    render = renderer(bending_policy())
    texts = [f"prompt {number}" for number in range(7)]
    first = render(texts)
    torch.manual_seed(5)
    assert torch.equal(render(texts), first)
    assert_close(render(texts[:4]), first[:4])
    assert first.shape[0] == 7
    assert (first.dtype, first.requires_grad) == (torch.float32, False)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_how_many_are_rendered_at_once_matters_to_memory_alone(bending_policy, batch_size: int) -> None:
    texts = [f"prompt {number}" for number in range(7)]
    policy, other = bending_policy(), bending_policy()
    assert_close(renderer(policy, batch_size=batch_size)(texts), renderer(other)(texts), rtol=0, atol=1e-6)
    assert len(policy.rollout) == 3 * -(-7 // batch_size)  # three steps a batch


@pytest.mark.parametrize("changes", [{"purpose": "report"}, {"seed": 5}])
def test_every_purpose_and_seed_has_its_own_pictures(bending_policy, changes: dict) -> None:
    texts = ["a", "b"]
    assert not torch.allclose(renderer(bending_policy())(texts), renderer(bending_policy(), **changes)(texts))
    assert not torch.allclose(renderer(bending_policy())(texts, 0), renderer(bending_policy())(texts, 1))


def test_prompts_take_turns_with_the_word_pairs() -> None:
    scorer = Scorer()
    Panel(PROMPTS, PAIRS, {"reward": scorer}).relative(scorer, torch.rand(6, 3, 4, 4))
    one_seed = [
        ["3d. a red cat", "flat. a red cat"],
        ["sharp. a dog", "blurry. a dog"],
        ["3d. a blue cat", "flat. a blue cat"],
    ]
    assert scorer.asked == one_seed * 2


def test_the_relative_score_is_positive_minus_negative_word() -> None:
    scorer = Scorer()
    images = showing(scorer, ["3d. a red cat", "blurry. a dog", "3d. a blue cat"])
    relative = Panel(PROMPTS, PAIRS, {"reward": scorer}).relative(scorer, images)
    cosine = [float(scorer.embed_texts([a])[0] @ scorer.embed_texts([b])[0]) for a, b in (
        ("3d. a red cat", "flat. a red cat"), ("sharp. a dog", "blurry. a dog"), ("3d. a blue cat", "flat. a blue cat")
    )]  # fmt: skip
    expected = [1 - cosine[0], cosine[1] - 1, 1 - cosine[2]]
    assert relative.tolist() == pytest.approx(expected, abs=1e-5)


def test_a_clip_is_measured_by_its_frames() -> None:
    """Equal frames measure as the picture they show; frames that differ, as their mean."""
    scorer = Scorer()
    pictures = showing(scorer, ["3d. a red cat", "blurry. a dog", "3d. a blue cat"])
    still = Panel(PROMPTS, PAIRS, {"reward": scorer, "second": scorer}).measure(pictures)
    panel = Panel(PROMPTS, PAIRS, {"reward": scorer, "second": scorer})
    assert panel.measure(torch.stack([pictures] * 3, dim=1)) == pytest.approx(still, abs=1e-6)

    other = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    moving, both = torch.stack([pictures, other], dim=1), [panel.measure(pictures), panel.measure(other)]
    measured = panel.measure(moving)
    for name in ("saturation", "brightness", "clipped", "texture", "reward", "second"):
        assert measured[name] == pytest.approx((both[0][name] + both[1][name]) / 2, abs=1e-6), name


def test_clips_are_rendered_one_at_a_time(linear_policy) -> None:
    policy = linear_policy(torch.zeros(3, 2, 2, 2))
    assert renderer(policy)(["a", "b", "c"]).shape == (3, 3, 2, 2, 2)
    assert len(policy.rollout) == 3 * 3  # three steps for each of three prompts


def test_without_words_a_picture_is_scored_by_its_prompt() -> None:
    scorer = Scorer()
    panel = Panel(PROMPTS, [], {"second": scorer})
    values = panel.measure(showing(scorer, [prompt.text for prompt in PROMPTS]))
    assert values["second"] == pytest.approx(1.0)
    assert "words" not in values


def test_recall_looks_for_a_pictures_subject_among_all_subjects() -> None:
    scorer = Scorer()
    many = [Prompt(f"a {name}", name) for name in "abcdefgh"]
    right, wrong = [prompt.subject for prompt in many], [prompt.subject for prompt in many[::-1]]
    assert Panel(many, PAIRS, {"second": scorer}).measure(showing(scorer, right))["recall"] == 1.0
    assert Panel(many, PAIRS, {"second": scorer}).measure(showing(scorer, wrong))["recall"] < 1.0


def test_recall_may_look_among_more_subjects_than_are_shown() -> None:
    scorer = Scorer()
    few = [Prompt(f"a {name}", name) for name in "abc"]
    wrong = showing(scorer, ["c", "a", "b"])
    assert Panel(few, PAIRS, {"second": scorer}).measure(wrong)["recall"] == 1.0  # three subjects, five guesses
    many = [Prompt(f"a {name}", name) for name in "defghijklmnopqrstuvwxyz"]
    assert Panel(few, PAIRS, {"second": scorer}, among=many).measure(wrong)["recall"] < 1.0


def test_distance_and_diversity_are_zero_only_for_the_pictures_of_the_base_and_for_copies() -> None:
    scorer = Scorer()
    panel = Panel(PROMPTS, PAIRS, {"second": scorer})
    base = showing(scorer, ["x", "y", "z"])
    assert panel.measure(base)["distance"] == pytest.approx(0.0, abs=1e-6)
    copies = panel.measure(showing(scorer, ["x", "x", "x"]))
    assert copies["diversity"] == pytest.approx(0.0, abs=1e-5)
    assert copies["distance"] > 0.3


def test_the_cosine_of_the_words_is_that_of_their_texts() -> None:
    scorer = Scorer()
    values = Panel(PROMPTS[:1], PAIRS, {"reward": scorer}).measure(torch.rand(1, 3, 4, 4))
    one, other = scorer.embed_texts(["3d. a red cat", "flat. a red cat"])
    assert values["words"] == pytest.approx(float(one @ other), abs=1e-5)


def test_every_measured_value_is_a_plain_number() -> None:
    values = Panel(PROMPTS, PAIRS, {"reward": Scorer(), "second": Scorer()}).measure(torch.rand(3, 3, 4, 4))
    assert set(values) == {
        "saturation", "brightness", "clipped", "texture", "reward",
        "second", "recall", "diversity", "distance", "words",
    }  # fmt: skip
    assert all(type(value) is float for value in values.values())
