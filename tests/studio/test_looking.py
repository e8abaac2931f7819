"""What the Words page shows of a pair: shipped, measured or unmeasured figures, favourites, and typed words as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from toolkit import picture_sets, words
from toolkit.studio import recipe_form, start_markup, system_markup, words_markup
from toolkit.studio.looking import Looking, Wanted, rewards
from toolkit.system import Variable
from toolkit.word_scorer import ScorerError, Separation, WordScorer
from toolkit.words import WordPair

HOSTILE = "<script>alert(1)</script>{{x}}\"'`$"


class Told(WordScorer):
    """Says what it was given, without a child."""

    def __init__(self, separation: Separation | None = None, error: str = "") -> None:
        self.said, self.error, self.batches = separation, error, []

    def _or_error(self, answer: Any) -> Any:
        if self.error:
            raise ScorerError(self.error)
        return answer if self.said else None

    def known(self, *_: Any, **__: Any) -> Separation | None:
        return self.said

    def glance(self, *_: Any, **__: Any) -> Separation | None:
        return self._or_error(self.said)

    def glance_at_all(self, pairs: Sequence[WordPair], **__: Any) -> bool:
        self.batches.append([str(pair) for pair in pairs])
        return bool(self._or_error(True))

    def cosines(self, pairs: Sequence[WordPair], **__: Any) -> list[list[float]] | None:
        return self._or_error([[1 - 0.2 * place for place in range(len(pairs))]])

    def margins(self, pair: WordPair, pictures: Any, **__: Any) -> list[float | None] | None:
        return self._or_error([float(place) for place in range(len(pictures.names))])


def wanted(positive: str = "moody", negative: str = "flat", **other: Any) -> Wanted:
    chosen = {"reward": "demo", "source": "demo", "folder": "", "measure_all": False} | other
    return Wanted(positive, negative, **chosen)


def test_a_shipped_figure_needs_no_measurement_and_an_unmeasured_one_says_so(tmp_path: Path) -> None:
    seen = Looking(tmp_path, Told()).look(wanted("3d render", "line art"))
    assert "0.99" in seen.separation
    assert seen.library.count(words_markup.UNMEASURED) == 2  # the pairs for full-size bases
    under_another = Looking(tmp_path, Told()).look(wanted("3d render", "line art", reward="hpsv21"))
    assert "0.99" not in under_another.separation + under_another.library
    assert under_another.library.count(words_markup.UNMEASURED) == len(words.library())


def test_what_is_not_known_yet_is_coming_and_then_there(tmp_path: Path) -> None:
    seen = Looking(tmp_path, Told()).look(wanted())
    assert seen.is_coming
    assert "ghost" in seen.ranked and "ghost" in seen.cosines  # noqa: PT018
    seen = Looking(tmp_path, Told(Separation(0.62))).look(wanted())
    assert not seen.is_coming
    assert "hardly tells them apart: 0.62" in seen.separation
    assert seen.ranked.count("<img") == 2 * words_markup.SHOWN
    assert seen.cosines.count('class="value"') == len(words.library())


def test_the_whole_library_is_measured_in_one_question(tmp_path: Path) -> None:
    scorer = Told(Separation(0.9))
    Looking(tmp_path, scorer).look(wanted(measure_all=True))
    assert scorer.batches == [["realistic photo / CG render", "natural lighting / painting"]]
    scorer = Told(Separation(0.9))
    Looking(tmp_path, scorer).look(wanted(reward="hpsv21", measure_all=True))
    assert [len(batch) for batch in scorer.batches] == [len(words.library())]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (wanted("same", " Same "), "must differ"),
        (wanted("a" * 201), "200"),
        (wanted("", "b"), "Type a word in both boxes"),
        (wanted(reward="demo_judge"), "no such reward"),
        (wanted(reward="../x"), "no such reward"),
    ],
)
def test_what_is_no_pair_or_no_reward_is_answered_in_words(tmp_path: Path, asked: Wanted, said: str) -> None:
    seen = Looking(tmp_path, Told(Separation(0.9))).look(asked)
    assert said in seen.separation
    assert (seen.is_favourite, seen.ranked) == (None, "")


def test_a_failure_is_a_sentence_and_stops_the_waiting(tmp_path: Path) -> None:
    seen = Looking(tmp_path, Told(error="No weights.")).look(wanted(measure_all=True))
    assert all("No weights." in part for part in (seen.separation, seen.ranked, seen.cosines, seen.library))
    assert not seen.is_coming


def test_a_favourite_is_kept_shown_first_offered_on_start_and_forgotten(tmp_path: Path) -> None:
    looking = Looking(tmp_path, Told(Separation(0.9)))
    assert looking.keep("moody", "flat") == ""
    seen = looking.look(wanted())
    assert seen.is_favourite
    assert seen.library.index("moody") < seen.library.index("<h2>Library</h2>")
    assert start_markup.library(looking.favourites.offered())[0] == ("★ moody / flat", "moody / flat")
    assert looking.keep("moody", "flat") == ""
    assert looking.look(wanted()).is_favourite is False
    assert "Type two words" in looking.keep("moody", None)


def test_a_library_pair_that_is_a_favourite_is_offered_once() -> None:
    names = [value for _, value in start_markup.library([words.library()[2].pair()])]
    assert names[0] == str(words.library()[2].pair())
    assert len(names) == len(set(names)) == len(words.library())


def test_a_damaged_favourites_file_is_said_beside_the_library(tmp_path: Path) -> None:
    looking = Looking(tmp_path, Told(Separation(0.9)))
    looking.favourites.file.write_text("{")
    assert "cannot be read" in looking.look(wanted()).library
    assert "cannot be read" in looking.keep("a", "b")


@pytest.mark.parametrize(("source", "said"), [("runs", "No run has drawn"), ("folder", "There is no folder")])
def test_no_pictures_is_an_answer_with_a_next_step(tmp_path: Path, source: str, said: str) -> None:
    seen = Looking(tmp_path, Told(Separation(0.9))).look(wanted(source=source, folder="/no/such/place"))
    assert said in seen.ranked


def test_words_and_names_of_files_stay_text(tmp_path: Path) -> None:
    pair = WordPair(positive=HOSTILE, negative="plain")
    looking = Looking(tmp_path, Told(Separation(0.9)))
    looking.keep(pair.positive, pair.negative)
    seen = looking.look(wanted(pair.positive, pair.negative))
    named = words_markup.ranked(pair, picture_sets.PictureSet((("demo:3d render/x", HOSTILE),)), [0.1])
    drawn = (seen.separation, seen.teach, seen.ranked, seen.cosines, seen.library, named)
    shown = system_markup.variables([Variable(HOSTILE, HOSTILE)])
    for part in (*drawn, shown, words_markup.no_pictures(picture_sets.UsageError(HOSTILE), "folder")):
        assert "<script" not in part
        assert "{{" not in part


def test_only_rewards_that_read_words_are_offered() -> None:
    names = [name for _, name in rewards()]
    assert names[0] == "demo"
    assert {"hpsv21", "image_reward"} <= set(names)
    assert not {"demo_judge", "aesthetic_v25", "laion_aesthetic"} & set(names)


def test_a_pair_from_the_address_becomes_a_recipe() -> None:
    content = recipe_form.taught("moody", "flat: #1")
    assert recipe_form.parse(content).words[0] == WordPair(positive="moody", negative="flat: #1")
