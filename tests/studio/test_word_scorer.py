import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit import picture_sets, word_scorer
from toolkit.picture_sets import PictureSet
from toolkit.word_scorer import ScorerError, Separation, WordScorer
from toolkit.words import WordPair

PAIR = WordPair(positive="3d render", negative="line art")
# Answers like the real child, and counts how often it was started and asked.
STUB = """
import json, sys
open(sys.argv[1], "a").write("start\\n")
print("a library says hello"); print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    open(sys.argv[1], "a").write("ask\\n")
    word = asked["pairs"][0][0]
    if word == "die": sys.exit("Something broke.")
    if word == "wait": continue
    if word == "odd": print(json.dumps({"error": "No such reward."}), flush=True); continue
    answer = [[0.94, 0.5] for _ in asked["pairs"]]
    if asked["ask"] == "margins": answer = [len(asked["digest"])] * len(asked["pictures"])
    print(json.dumps({"answer": answer}), flush=True)
    if word == "last": break
"""


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    return tmp_path / "asked.txt"


@pytest.fixture
def scorer(asked: Path) -> WordScorer:
    scorer = WordScorer(seconds=5, make_command=lambda: [sys.executable, "-c", STUB, str(asked)])
    yield scorer  # type: ignore[misc]
    scorer.close()


def pair(positive: str) -> WordPair:
    return WordPair(positive=positive, negative="other")


def test_answers_are_remembered_and_one_child_is_kept(scorer: WordScorer, asked: Path) -> None:
    assert scorer.separation(PAIR) == scorer.separation(PAIR) == Separation(0.94, 0.5)
    scorer.separation(pair("more"))
    assert asked.read_text().split() == ["start", "ask", "ask"]


def test_a_child_that_ended_meanwhile_is_replaced(scorer: WordScorer, asked: Path) -> None:
    scorer.separation(pair("last"))
    assert scorer.separation(pair("more")).value == 0.94
    assert asked.read_text().split().count("start") == 2


def test_a_child_that_breaks_is_an_error_with_its_last_words(scorer: WordScorer) -> None:
    with pytest.raises(ScorerError, match=r"Something broke\."):
        scorer.separation(pair("die"))
    assert scorer.separation(pair("more")).value == 0.94


def test_the_childs_own_refusal_is_passed_on(scorer: WordScorer) -> None:
    with pytest.raises(ScorerError, match=r"No such reward\."):
        scorer.separation(pair("odd"))


def test_no_answer_in_time_is_an_error_and_the_child_is_dropped(asked: Path) -> None:
    scorer = WordScorer(seconds=0.5, make_command=lambda: [sys.executable, "-c", STUB, str(asked)])
    with pytest.raises(ScorerError, match="No measurement"):
        scorer.separation(pair("wait"))
    scorer.close()


def finally_(glance: Callable[[], Any], seconds: float = 20) -> Any:
    """The answer of a glance, once it is there."""
    deadline = time.monotonic() + seconds
    while (found := glance()) in (None, False) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_a_glance_never_blocks_and_finds_the_answer_later(scorer: WordScorer) -> None:
    assert scorer.glance(PAIR) is None
    assert finally_(lambda: scorer.glance(PAIR)) == Separation(0.94, 0.5)


def test_a_failed_glance_says_so_and_a_later_one_tries_again(
    scorer: WordScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):  # a page that refreshes shows the same trouble
        with pytest.raises(ScorerError, match=r"No such reward\."):
            finally_(lambda: scorer.glance(pair("odd")))
    monkeypatch.setattr(word_scorer, "FAILED_SECONDS", 0)
    with pytest.raises(ScorerError, match=r"No such reward\."):
        scorer.glance(pair("odd"))
    assert scorer.glance(pair("odd")) is None  # asked again


def test_many_pairs_are_one_question_and_each_is_known_afterwards(scorer: WordScorer, asked: Path) -> None:
    scorer.separation(pair("one"))
    many = [pair(word) for word in ("one", "two", "three")]
    assert finally_(lambda: scorer.glance_at_all(many)) is True
    assert scorer.known(many[2]) == Separation(0.94, 0.5)
    assert scorer.known(many[2], reward="other") is None
    assert asked.read_text().split() == ["start", "ask", "ask"]


def test_margins_are_remembered_until_a_picture_changes(scorer: WordScorer, asked: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    pictures = PictureSet(((str(path), "a"),))
    assert finally_(lambda: scorer.margins(PAIR, pictures)) == [16]
    assert scorer.margins(PAIR, pictures) == [16]
    path.write_bytes(b"another")
    assert scorer.margins(PAIR, pictures) is None
    assert finally_(lambda: scorer.margins(PAIR, pictures)) == [16]
    assert asked.read_text().split() == ["start", "ask", "ask"]


def test_a_question_that_nobody_looks_after_any_more_is_not_asked(
    scorer: WordScorer, asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_scorer, "LEFT_BEHIND_SECONDS", 0.2)
    with scorer._lock:  # another question is being answered
        assert scorer.glance(pair("left")) is None
        time.sleep(0.4)
    deadline = time.monotonic() + 20
    while scorer._asked and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not asked.exists()
    assert finally_(lambda: scorer.glance(pair("left"))) == Separation(0.94, 0.5)  # looked after again


def test_closing_does_not_wait_for_an_answer(asked: Path) -> None:
    scorer = WordScorer(seconds=60, make_command=lambda: [sys.executable, "-c", STUB, str(asked)])
    assert scorer.glance(pair("wait")) is None
    deadline = time.monotonic() + 20
    while "ask" not in (asked.read_text() if asked.exists() else "") and time.monotonic() < deadline:
        time.sleep(0.05)
    started = time.monotonic()
    scorer.close()
    assert time.monotonic() - started < 5
    with pytest.raises(ScorerError):
        scorer.separation(pair("more"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_reward_tells_a_style_pair_apart() -> None:
    scorer = WordScorer(seconds=500)
    found = scorer.separation(PAIR)
    scorer.close()
    assert 0.9 <= found.value <= 1.0
    assert found.cosine is not None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_reward_ranks_the_demos_pictures_along_a_pair() -> None:
    scorer = WordScorer(seconds=500)
    pictures = picture_sets.demo()
    margins = finally_(lambda: scorer.margins(PAIR, pictures), seconds=500)
    scorer.close()
    order = [pictures.names[place] for place in picture_sets.ranked(margins)]
    places = {style: [order.index(name) for name in order if style in name] for style in ("3d render", "line art")}
    assert max(places["3d render"]) < min(places["line art"])
