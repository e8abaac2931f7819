"""How words meet prompts: the texts, and each way against a sum done by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comfy_nodes.logic import ways
from comfy_nodes.logic.texts import prefixed, weighted
from comfy_nodes.logic.ways import WAYS, Request, apply, reads_weights
from comfy_nodes.logic.words import Pair, Spoken, library
from toolkit import words as trained
from toolkit.words import WordPair, positive_and_negative

CALM = Pair("calm", "loud")
NUMBERS = {
    "": 0.0, "cat": 1.0, "dog": 2.0, "calm. cat": 11.0, "loud. cat": 5.0, "calm": 7.0, "loud": 8.0, "loud. dog": 20.0,
    "red. cat": 101.0, "blue. cat": 51.0, "red. calm. cat": 111.0,
}  # fmt: skip


def encode(text: str) -> list[list[Any]]:
    """One number for each known text, in CLIP's 77 places."""
    return [[torch.full((1, 77, 1), NUMBERS[text]), {"pooled_output": torch.tensor([[NUMBERS[text]]])}]]


def number(conditioning: Sequence[Any]) -> float:
    ((tokens, about),) = conditioning
    assert about["pooled_output"].item() == tokens[0, 0, 0].item()
    return tokens[0, 0, 0].item()


def say(way: str, strength: float = 1.0, *, negative: str = "dog", pair: Pair = CALM, **more: Any) -> ways.Sent:
    return apply(way, Request("cat", negative, [Spoken(pair, strength)], **more), encode)


def test_prefix_is_the_text_of_training() -> None:
    pair = WordPair(positive="3d render", negative="line art")
    (both,) = positive_and_negative(["a cat"], [pair])
    assert [prefixed([(word, 1.0)], "a cat") for word in (pair.positive, pair.negative)] == both
    assert both == ["3d render. a cat", "line art. a cat"]


@given(st.text(min_size=1), st.text(min_size=1))
def test_prefix_is_the_text_of_training_for_every_word(word: str, prompt: str) -> None:
    assert prefixed([(word, 1.0)], prompt) == trained.caption(word, prompt)


@pytest.mark.parametrize(
    ("words", "prompt", "text"),
    [
        ([("calm", 1.0)], "", "calm"),
        ([("calm", 0.0)], "a cat", "a cat"),
        ([("", 1.0)], "a cat", "a cat"),
        ([], "a cat", "a cat"),
        ([("calm", 1.3)], "a cat", "(calm:1.3). a cat"),
        ([("calm", 0.05)], "a cat", "(calm:0.05). a cat"),
        ([("red", 1.0), ("calm", 0.5)], "a cat", "red. (calm:0.5). a cat"),
        ([(r"calm \(soft\)", 1.0)], "(a:2) cat", r"calm \(soft\). (a:2) cat"),
    ],
)
def test_texts(words: list[tuple[str, float]], prompt: str, text: str) -> None:
    assert prefixed(words, prompt) == text


def test_an_encoder_without_weights_gets_the_plain_word() -> None:
    assert weighted(r"calm \(soft\)", 1.7, weights=False) == "calm (soft)"
    sent = say("prefix", 1.7, weights=False)
    assert sent.positive_text == "calm. cat"
    assert "reads no weights" in sent.note
    assert say("prefix", 1.0, weights=False).note == ""
    assert reads_weights({"l": [[(1, 1.0), (2, 1.5)]]})
    assert not reads_weights({"qwen": [[(1, 1.0), (2, 1.0, 3)]]})


def test_prefix() -> None:
    sent = say("prefix")
    assert (number(sent.positive), number(sent.negative)) == (11.0, 20.0)
    assert (sent.positive_text, sent.negative_text) == ("calm. cat", "loud. dog")


def test_average() -> None:
    sent = say("average", 0.5)
    assert (number(sent.positive), number(sent.negative)) == (6.0, 11.0)
    assert sent.positive_text == "+0.5 × [cat]\n+0.5 × [calm. cat]"
    whole = say("average", 1.0)
    assert (number(whole.positive), whole.positive_text) == (11.0, "calm. cat")
    beyond = say("average", 2.0)
    assert (number(beyond.positive), number(beyond.negative)) == (21.0, 38.0)


def test_direction() -> None:
    sent = say("direction", 1.5)
    assert (number(sent.positive), number(sent.negative)) == (1 + 1.5 * (11 - 5), 2.0)
    assert sent.positive_text == "+1 × [cat]\n+1.5 × [calm. cat]\n-1.5 × [loud. cat]"
    assert sent.negative_text == "dog"


def test_concat() -> None:
    sent = say("concat")
    ((tokens, about),) = sent.positive
    assert tokens.flatten().tolist() == [1.0] * 77 + [7.0] * 77
    assert about["pooled_output"].item() == 1.0
    ((tokens, _),) = sent.negative
    assert tokens.flatten().tolist() == [2.0] * 77 + [8.0] * 77
    assert (sent.positive_text, sent.negative_text) == ("cat | calm", "dog | loud")


def test_timestep_range() -> None:
    sent = say("timestep range", span=(0.0, 0.4))
    for side, first, second in ((sent.positive, 11.0, 1.0), (sent.negative, 20.0, 2.0)):
        parts = [(tokens[0, 0, 0].item(), about["start_percent"], about["end_percent"]) for tokens, about in side]
        assert parts == [(first, 0.0, 0.4), (second, 0.4, 1.0)]


def test_two_pairs_add_up() -> None:
    words = [Spoken(Pair("red", "blue"), 1.0), Spoken(CALM, 1.0)]
    assert number(apply("prefix", Request("cat", "", words), encode_all).positive) == 111.0
    assert number(apply("average", Request("cat", "", words), encode_all).positive) == 101 + 11 - 1
    assert number(apply("direction", Request("cat", "", words), encode_all).positive) == 1 + (101 - 51) + (11 - 5)


def encode_all(text: str) -> list[list[Any]]:
    return encode(text if text in NUMBERS else "")


@pytest.mark.parametrize("way", WAYS)
def test_strength_0_is_the_identity_to_the_bit(way: str) -> None:
    generator = torch.Generator().manual_seed(1)
    known: dict[str, list[list[Any]]] = {}

    def random(text: str) -> list[list[Any]]:
        if text not in known:
            known[text] = [[torch.randn(1, 77, 8, generator=generator), {"pooled_output": None}]]
        return known[text]

    sent = apply(way, Request("cat", "dog", [Spoken(CALM, 0.0)]), random)
    assert sent.positive is known["cat"]
    assert sent.negative is known["dog"]
    assert (sent.positive_text, sent.negative_text, sent.note) == ("cat", "dog", "")
    assert set(known) == {"cat", "dog"}  # the words are not even encoded


@pytest.mark.parametrize("way", WAYS)
def test_a_pair_with_one_side_leaves_the_other_as_it_is(way: str) -> None:
    sent = say(way, pair=Pair("calm", ""), span=(0.0, 1.0))
    assert number(sent.negative) == 2.0
    assert not torch.equal(sent.positive[0][0][:, :1], encode("cat")[0][0][:, :1]) or way == "concat"


@pytest.mark.parametrize("way", ["average", "direction"])
def test_unequal_lengths_fall_back_to_the_prefix_and_say_so(way: str) -> None:
    def unpadded(text: str) -> list[list[Any]]:
        return [[torch.ones(1, 3 + len(text.split()), 2), {}]]

    sent = apply(way, Request("a cat", "", [Spoken(CALM, 0.5)]), unpadded)
    assert sent.positive_text == "(calm:0.5). a cat"
    assert sent.positive[0][0].shape == (1, 6, 2)
    assert f"{way} is not possible here" in sent.note
    assert "5 and 6 tokens" in sent.note


def test_the_library_is_the_shipped_one() -> None:
    assert [(pair.positive, pair.negative) for pair in library().values()] == [
        (pair.positive, pair.negative) for pair in trained.library()
    ]
    assert library()["3d render / line art"] == Pair("3d render", "line art")
