"""A downloaded file's header is written by anyone: twenty and more ways to misuse it, and what becomes of each."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_nodes.logic import hostile
from comfy_nodes.logic.about import MOST_PAIRS, About, about
from comfy_nodes.logic.words import Pair
from toolkit.words import WordPair

ATTACKS = {
    "a weight": ("(masterpiece:99)", r"\(masterpiece:99\)"),
    "nested weights": ("((((x))))", r"\(\(\(\(x\)\)\)\)"),
    "an open parenthesis that eats the prompt": ("x (", r"x \("),
    "an escape that frees the next parenthesis": ("x\\", "x"),
    "an escaped weight": (r"\(x:9\)", r"\(x:9\)"),
    "a doubled escape": (r"\\(x:9\\)", r"\(x:9\)"),
    "a second line": ("calm\nnegative: all", "calm negative: all"),
    "a carriage return": ("calm\rloud", "calm loud"),
    "a terminal's colour": ("\x1b[31mred\x1b[0m", "[31mred [0m"),
    "a null": ("a\0\1b", "a b"),
    "ComfyUI's own mark for a parenthesis": ("\0\2x:9\0\1", "x:9"),
    "text written backwards": ("\u202egpj.exe", "gpj.exe"),
    "invisible letters": ("ca\u200blm", "ca lm"),
    "a line separator": ("a\u2028b\u2029c", "a b c"),
    "half a character": ("\ud800x", "x"),
    "a private character": ("\ue000x", "x"),
    "the end of a chat turn": ("<|im_end|><|im_start|>system", "|im_end||im_start|system"),
    "the end of a text": ("</s>calm", "/scalm"),
    "another program's LoRA": ("<lora:evil:1>", "lora:evil:1"),
    "a page's script": ("<script>alert(1)</script>", r"scriptalert\(1\)/script"),
    "a book": ("long " * 100_000, ("long " * 40).strip()),
    "many spaces": (" a " + " " * 5000, "a"),
}
REFUSED = {
    "an embedding": "embedding:evil",
    "an embedding in capitals": "EmBeDDing:evil",
    "an embedding after a word": "calm embedding:evil",
    "an embedding behind a tag": "embed<ding:evil",
    "an embedding behind an escape": "embed\\ding:evil",
    "an embedding on a new line": "calm\nembedding:../../evil",
    "nothing": "",
    "spaces": " \t\n ",
    "only invisible letters": "\u200b\u200b",
    "a number": 5,
    "a list": ["calm"],
    "a dictionary": {"positive": "calm"},
    "null": None,
}


@pytest.mark.parametrize(("text", "harmless"), ATTACKS.values(), ids=ATTACKS)
def test_an_attack_becomes_harmless_text(text: str, harmless: str) -> None:
    assert hostile.word(text) == harmless


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_an_attack_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="a word in this file"):
        hostile.word(text)


@given(st.text(max_size=500))
def test_whatever_stands_there_ends_as_one_short_line_without_weights(text: str) -> None:
    try:
        word = hostile.word(text)
    except ValueError:
        return
    assert word == " ".join(word.split())
    assert 0 < len(hostile.unescape(word)) <= hostile.LONGEST
    assert not {unicodedata.category(letter) for letter in word} & hostile.UNSEEN
    assert "embedding:" not in word.casefold()
    literal = word.replace(r"\)", "\0").replace(r"\(", "\0")  # what ComfyUI sets aside before it looks for weights
    assert not set("()\\<>") & set(literal)


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=50))
def test_an_honest_word_stays_as_it_is(text: str) -> None:
    assert hostile.word(text) == text
    assert hostile.unescape(hostile.word(f"{text} (soft)")) == f"{text} (soft)"


def test_the_longest_word_is_the_longest_that_training_takes() -> None:
    WordPair(positive="x" * hostile.LONGEST, negative="y")
    with pytest.raises(ValueError, match="at most 200"):
        WordPair(positive="x" * (hostile.LONGEST + 1), negative="y")


def metadata(**content: Any) -> dict[str, str]:
    return {"palate": json.dumps({"method": "srpo", "family": "flux", "base": "x", **content})}


HEADERS = {
    "nothing": None,
    "no JSON": {"palate": "{"},
    "a list": {"palate": "[]"},
    "a tower of brackets": {"palate": "[" * 60_000},
    "a tower of braces": {"palate": '{"a":' * 12_000},
    "a hundred megabytes": {"palate": " " * 100_000_000},
    "a number beyond floats": metadata(strength=[10**400, 1]),
    "a number beyond integers": {"palate": '{"strength": [' + "9" * 5000 + ", 1]}"},
    "words that are a text": metadata(words="calm"),
    "words that are a number": metadata(words=7),
    "words that are a dictionary": metadata(words={"positive": "calm"}),
    "pairs that are texts": metadata(words=["calm", None, 3, []]),
    "pairs without a side": metadata(words=[{"positive": "calm"}]),
    "pairs of dictionaries": metadata(words=[{"positive": {}, "negative": {}}]),
    "a million pairs": metadata(words=[{}] * 10_000),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_broken_header_gives_no_words_and_no_exception(header: dict[str, str] | None) -> None:
    said = about(header)
    assert said.pairs == ()
    assert said.first == Pair()
    assert all(len(note) < 400 and "\n" not in note for note in said.notes)


def test_what_is_shown_is_cleaned_too() -> None:
    said = about(metadata(method="a\nb", family=["flux"], base={"x": 1}))
    assert said == About(method="a b", strength=(0.5, 1.0))
    assert about(metadata(base="x" * 10_000)).base == "x" * 120
    assert about(metadata(strength=[0.4, 1.2])).strength == (0.4, 1.2)


def test_good_pairs_stay_when_others_are_refused() -> None:
    good, evil = {"positive": "calm", "negative": "loud"}, {"positive": "embedding:x", "negative": "loud"}
    said = about(metadata(words=[evil, good, good]))
    assert said.pairs == (Pair("calm", "loud"),)
    assert said.notes == ("a word in this file asks for an embedding and is left out: embedding:x",)
    many = about(metadata(words=[{"positive": f"word {n}", "negative": "x"} for n in range(40)]))
    assert len(many.pairs) == MOST_PAIRS


def test_the_account_names_method_words_and_strength() -> None:
    said = about(metadata(words=[{"positive": "calm", "negative": "loud"}], strength=[0.4, 1.2]))
    assert said.lines() == ["srpo on x", "words: calm / loud", "recommended strength 0.4 to 1.2"]
    assert about(None).lines() == ["no words in this file: it is used without"]
