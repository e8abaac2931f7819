"""Words that a reward learns: read as its own tokens are, found from likes, and used by a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import emoji
from torch.testing import assert_close

from toolkit.errors import UsageError
from toolkit.recipe import Section, read
from toolkit.words import WordPair, caption
from training import build, learned_words, tables
from training.learned_words import FILLER, Reader
from training.word_learning import WordLearning, learn

PAIR = WordPair(positive="<liked>", negative="<disliked>")
CPU = torch.device("cpu")
READERS = ["demo", "demo_second", "hpsv21", "pickscore", "clip"]


def liked_if_shaded(style: str, name: str) -> tuple[str, str]:
    """No control word of the world names this taste: 3d renders and cartoons together."""
    return ("liked" if style in ("3d render", "cartoon") else "disliked"), name


@pytest.fixture(scope="module")
def likes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emoji.write(tmp_path_factory.mktemp("likes"), range(32), liked_if_shaded)


@pytest.fixture(scope="module")
def taste(likes: Path) -> tuple[Path, dict]:
    """Learned on 26 subjects, checked on 6 others."""
    file = likes / "taste.safetensors"
    sections = [Section(name="demo"), Section(name="demo_second")]
    return file, learn(str(likes), sections, file, PAIR, WordLearning(steps=60, learning_rate=0.1))


@pytest.mark.parametrize("name", READERS)
def test_a_word_of_known_tokens_is_read_as_those_tokens(name: str, reward_section) -> None:
    """A learned word whose vectors are the filler's own is the filler, said as often."""
    reward = tables.reward(reward_section(name))
    reader = Reader(reward, reward.text_features)
    own = reader.embedding.weight[reader.filler].detach().expand(3, -1)
    said = reward.text_features([caption(f"{FILLER} {FILLER} {FILLER} ", "a cat")])
    assert_close(reader.features([caption("<x>", "a cat")], "<x>", own), said)
    other = own + 0.1 * torch.randn(own.shape, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(reader.features([caption("<x>", "a cat")], "<x>", other), said)


@pytest.mark.parametrize("name", READERS)
def test_only_the_vectors_receive_a_gradient(name: str, reward_section) -> None:
    reward = tables.reward(reward_section(name))
    reader = Reader(reward, reward.text_features)
    vectors = torch.zeros(2, reader.embedding.weight.shape[1], requires_grad=True)
    reader.features(["<x>. a cat", "<x>. a dog"], "<x>", vectors).sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.abs().amax(dim=1).min() > 0
    assert all(parameter.grad is None for parameter in reward.parameters())
    assert not reader.embedding._forward_hooks


def test_learned_words_raise_the_held_out_accuracy(taste: tuple[Path, dict]) -> None:
    """On prompts never learned from; a guess is .5, and 24 pictures have a standard error of .1."""
    for name in ("demo", "demo_second"):
        worth = taste[1]["rewards"][name]
        assert worth["after"]["accuracy"] >= worth["before"]["accuracy"] + 0.1, name
        assert worth["after"]["auc"] > 0.75, name


def test_a_reward_knows_the_words_of_its_file_in_any_prompt(taste: tuple[Path, dict]) -> None:
    pair = PAIR.model_copy(update={"learned": str(taste[0])})
    plain, taught = build.scorer(Section(name="demo"), CPU), build.scorer(Section(name="demo"), CPU, [pair])
    texts = [[caption(PAIR.positive, "a fox"), caption(PAIR.negative, "a fox"), "3d render. a fox"]]
    ours, known = taught.target(texts), plain.target(texts)
    assert torch.equal(ours[:, 2], known[:, 2])  # other words stay what they are
    assert (ours[:, 0] * ours[:, 1]).sum() < (known[:, 0] * known[:, 1]).sum()
    vectors = learned_words.read(str(taste[0]), "demo")[PAIR.positive]
    alone = Reader(plain, plain.text_features).features([texts[0][0]], PAIR.positive, vectors)
    assert_close(ours[0, 0], torch.nn.functional.normalize(alone, dim=-1)[0])


def test_one_word_inside_another_is_not_it() -> None:
    reward = tables.reward(Section(name="demo"))
    plain = reward.embed_texts(["dislike. a cat I like", "like. a cat"])
    reward.learn({"like": torch.ones(2, 128)})
    assert torch.equal(reward.embed_texts(["dislike. a cat I like"]), plain[:1])
    assert not torch.equal(reward.embed_texts(["like. a cat"]), plain[1:])


def test_the_same_seed_learns_the_same_bytes(likes: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.manual_seed(len(name))
        learn(str(likes), [Section(name="demo")], tmp_path / name, PAIR, WordLearning(steps=2, tokens=1))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_cannot_be_learned_or_read_is_said(taste: tuple[Path, dict], likes: Path, tmp_path: Path) -> None:
    file = str(taste[0])
    with pytest.raises(UsageError, match="not for `clip`"):
        learned_words.read(file, "clip")
    with pytest.raises(UsageError, match="no learned words"):
        learned_words.read(str(likes / "liked" / "000_0.png"), "demo")
    other = WordPair(positive="mine", negative="yours", learned=file)
    with pytest.raises(UsageError, match=r"`mine / yours` are not in `taste\.safetensors`"):
        build.scorer(Section(name="demo"), CPU, [other])
    with pytest.raises(UsageError, match="`demo_judge` cannot learn words"):
        learn(str(likes), [Section(name="demo_judge")], tmp_path / "x", PAIR, WordLearning(steps=1))
    liked = emoji.write(tmp_path / "all", range(3), lambda _, name: ("liked", name))
    (liked / "disliked").mkdir()
    with pytest.raises(UsageError, match="all liked, or all disliked"):
        learn(str(liked), [Section(name="demo")], tmp_path / "x", PAIR, WordLearning(steps=1))


def test_a_recipe_finds_its_words_beside_it_and_counts_them_by_what_they_say(tmp_path: Path) -> None:
    recipes = []
    for place, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "taste.safetensors").write_bytes(content)
        (tmp_path / place / "r.yaml").write_text(
            "words: {positive: <liked>, negative: <disliked>, learned: taste.safetensors}\n"
        )
        recipes.append(read(tmp_path / place / "r.yaml"))
    assert recipes[0].words[0].learned == str((tmp_path / "a" / "taste.safetensors").resolve())
    assert recipes[0].digest() == recipes[1].digest() != recipes[2].digest()
