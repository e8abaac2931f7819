import sys
import time
from pathlib import Path

import pytest

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
    if asked["positive"] == "die": sys.exit("Something broke.")
    if asked["positive"] == "wait": continue
    if asked["positive"] == "odd": print(json.dumps({"error": "No such reward."}), flush=True); continue
    print(json.dumps({"separation": 0.94, "cosine": 0.5}), flush=True)
    if asked["positive"] == "last": break
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


def test_a_glance_never_blocks_and_finds_the_answer_later(scorer: WordScorer) -> None:
    assert scorer.glance(PAIR) is None
    deadline = time.monotonic() + 20
    while (found := scorer.glance(PAIR)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found == Separation(0.94, 0.5)


def test_a_failed_glance_says_so_once(scorer: WordScorer) -> None:
    assert scorer.glance(pair("odd")) is None
    deadline = time.monotonic() + 20
    while scorer._asked[odd := ("demo", "demo", "odd", "other")] is None and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(ScorerError, match=r"No such reward\."):
        scorer.glance(pair("odd"))
    assert odd not in scorer._asked


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
