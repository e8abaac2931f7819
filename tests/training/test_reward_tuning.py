"""A reward learns to hear control words: from captions to AUC, and its file back into the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import emoji
from torch.testing import assert_close

from toolkit.errors import UsageError
from toolkit.pairs import Photo, Picture
from toolkit.recipe import Section
from training import tables
from training.randomness import Rng
from training.reward_tuning import RewardTuning, Tuner, degraded, styled, told_apart, tune

NAMED = {"3d render": "claymation", "flat icon": "paper cut", "line art": "stencil", "cartoon": "gouache"}
WORDS = list(NAMED.values())  # words that the demo's reward never heard
NOWHERE = Picture(Path())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emoji.write(
        tmp_path_factory.mktemp("photos"), range(24), lambda style, name: ("", f"{NAMED[style]} of {name}")
    )


@pytest.fixture(scope="module")
def tuned(photos: Path) -> tuple[Path, dict]:
    file = photos / "tuned.safetensors"
    settings = RewardTuning(steps=30, batch_size=16, learning_rate=3e-4, size=64)
    return file, tune(str(photos), Section(name="demo"), WORDS, file, settings)


@pytest.mark.parametrize(
    ("caption", "word", "plain"),
    [
        ("line art of a cat", "line art", "a cat"),
        ("Line Art. a cat", "line art", "a cat"),
        ("a cat on a blue background, line art", "line art", "a cat on a blue background"),
        ("black line art, a cat", "black line art", "a cat"),
        ("a cat", None, None),
        ("cartoon of line art", None, None),
        ("cartoonish cat", None, None),
    ],
)
def test_a_caption_is_split_into_its_style_and_the_rest(caption: str, word: str | None, plain: str | None) -> None:
    found = styled(Photo(caption, NOWHERE), ["line art", "black line art", "cartoon"])
    assert (found and found.word, found and found.plain) == (word, plain)


def test_tuning_raises_the_auc_of_words_that_the_reward_did_not_know(tuned: tuple[Path, dict]) -> None:
    """Relative reward on pictures of subjects kept back, all six pairs of words; a guess is .5."""
    before, after = (tuned[1][when] for when in ("before", "after"))
    assert len(before) == 6
    assert sum(after.values()) / 6 > sum(before.values()) / 6 + 0.1
    assert sum(after.values()) / 6 > 0.75


def test_a_tuned_reward_is_loaded_by_its_setting_and_is_the_one_that_was_measured(
    tuned: tuple[Path, dict], photos: Path
) -> None:
    reward = tables.reward(Section(name="demo", settings={"tuned": str(tuned[0])}))
    plain = tables.reward(Section(name="demo"))
    assert not any(parameter.requires_grad for parameter in reward.parameters())
    assert reward.network.state_dict().keys() == plain.network.state_dict().keys()
    assert not torch.equal(reward.embed_texts(["claymation. a fox"]), plain.embed_texts(["claymation. a fox"]))
    assert_close(reward.embed_texts(["claymation. a fox"]).norm(), torch.tensor(1.0))


@pytest.mark.parametrize("name", ["hpsv21", "pickscore", "clip", "siglip"])
def test_published_rewards_take_tuned_weights_under_their_own_names(name: str, reward_section, tmp_path: Path) -> None:
    from training.tuned_weights import save

    reward, images = tables.reward(reward_section(name)), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        next(iter(reward.network.parameters())).add_(0.5)
        save(tmp_path / "tuned.safetensors", reward.network, {"reward": name})
        again = tables.reward(reward_section(name, tuned=str(tmp_path / "tuned.safetensors")))
        assert torch.equal(again.embed_images(images), reward.embed_images(images))
        reward.forget_texts()
        assert torch.equal(again.embed_texts(["a cat"]), reward.embed_texts(["a cat"]))


def test_weights_of_another_reward_are_refused(tuned: tuple[Path, dict], reward_section) -> None:
    with pytest.raises(UsageError, match="weights of another reward"):
        tables.reward(reward_section("hpsv21", tuned=str(tuned[0])))


def test_degraded_pictures_are_what_their_word_says() -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.25
    blurry, noisy, dark = degraded(images, ["blurry", "noisy", "dark"], Rng(1, 0, (0, 1, 2)))
    assert blurry.std() < 0.3 * images[0].std()
    assert noisy.std() > 1.2 * images[1].std()
    assert dark.mean() < 0.7 * images[2].mean()


def test_equal_captions_are_no_mistake_for_each_other() -> None:
    """Two photos of one caption: the best that a contrast can reach is their own entropy, log 2."""
    reward = tables.reward(Section(name="demo"))
    tuner = Tuner(reward, WORDS, RewardTuning(steps=1))
    item = styled(Photo("stencil of a cat", NOWHERE), WORDS)
    assert item is not None
    images = torch.rand(1, 3, 64, 64).expand(2, -1, -1, -1)
    assert_close(tuner.contrast(images, [item, item]).detach(), torch.tensor(2.0).log(), atol=1e-5, rtol=0)


def test_auc_is_a_guess_between_equal_pictures() -> None:
    reward = tables.reward(Section(name="demo"))
    items = [styled(Photo(f"{word} of a cat", NOWHERE), WORDS) for word in WORDS[:2]]
    picture = torch.rand(3, 64, 64)
    assert told_apart(reward, [picture, picture], items, WORDS) == {"claymation / paper cut": 0.5}  # type: ignore[arg-type]


def test_the_same_seed_tunes_to_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        torch.manual_seed(len(name))
        tune(str(photos), Section(name="demo"), WORDS, tmp_path / name, RewardTuning(steps=2, batch_size=4, size=64))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_what_cannot_be_tuned_is_said(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name one of the words"):
        tune(str(photos), Section(name="demo"), ["oil painting", "stencil"], tmp_path / "x", RewardTuning(steps=1))
    with pytest.raises(UsageError, match="`demo_judge` cannot be tuned"):
        tune(str(photos), Section(name="demo_judge"), WORDS, tmp_path / "x", RewardTuning(steps=1))
