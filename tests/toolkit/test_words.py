"""The word pair and the library that ships."""

import pytest
from pydantic import ValidationError

from toolkit import words
from toolkit.words import WordPair


def test_words_are_stripped_and_shown_together() -> None:
    pair = WordPair(positive="  3d render ", negative="line art")
    assert str(pair) == "3d render / line art"
    assert pair.weight == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"positive": "", "negative": "b"},
        {"positive": "   ", "negative": "b"},
        {"positive": "a" * 201, "negative": "b"},
        {"positive": "a", "negative": "b", "weight": 0},
        {"positive": "Soft  Light", "negative": "soft light"},
    ],
)
def test_a_pair_without_a_direction_is_refused(settings: dict) -> None:
    with pytest.raises(ValidationError):
        WordPair(**settings)


def test_the_library_holds_usable_pairs_without_repeats() -> None:
    pairs = [entry.pair() for entry in words.library()]
    assert len({str(pair) for pair in pairs}) == len(pairs) >= 5
    assert ("3d render", "line art") in [(pair.positive, pair.negative) for pair in pairs]


def test_separation_is_known_only_where_it_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = words.LibraryPair(positive="a", negative="b", separation={"demo": 0.97})
    monkeypatch.setattr(words, "library", lambda: (shipped,))
    assert words.measured_separation(shipped.pair(), "demo") == 0.97
    assert words.measured_separation(shipped.pair(), "other") is None
    assert words.measured_separation(WordPair(positive="b", negative="a"), "demo") is None
