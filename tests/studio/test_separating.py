import pytest

from toolkit import words
from toolkit.studio import recipe_form, separating
from toolkit.word_scorer import ScorerError, Separation, WordScorer


class KnownScorer(WordScorer):
    """Knows one answer, or fails, without a child."""

    def __init__(self, answer: Separation | ScorerError | None) -> None:
        self.answer, self.glances = answer, 0

    def known(self, *_: object, **__: object) -> Separation | None:
        return self.answer if isinstance(self.answer, Separation) else None

    def glance(self, *_: object, **__: object) -> Separation | None:
        self.glances += 1
        if isinstance(self.answer, ScorerError):
            raise self.answer
        return self.answer


TYPED = recipe_form.first().replace("positive: 3d render", "positive: moody")


def test_a_shipped_answer_needs_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "measured_separation", lambda pair, reward, base: 0.97)
    scorer = KnownScorer(None)
    drawn, is_coming = separating.drawn(scorer, recipe_form.first(), ask=True)
    assert "0.97" in drawn
    assert (is_coming, scorer.glances) == (False, 0)


def test_an_unknown_pair_is_measured_only_when_asked() -> None:
    scorer = KnownScorer(None)
    drawn, is_coming = separating.drawn(scorer, TYPED, ask=False)
    assert "Leave the box" in drawn
    assert (is_coming, scorer.glances) == (False, 0)
    drawn, is_coming = separating.drawn(scorer, TYPED, ask=True)
    assert "Measuring" in drawn
    assert (is_coming, scorer.glances) == (True, 1)


@pytest.mark.parametrize("ask", [True, False])
def test_a_known_pair_is_shown_at_once(ask: bool) -> None:
    drawn, is_coming = separating.drawn(KnownScorer(Separation(0.62)), TYPED, ask=ask)
    assert "hardly tells them apart: 0.62" in drawn
    assert not is_coming


def test_a_failed_measurement_is_a_sentence() -> None:
    drawn, is_coming = separating.drawn(KnownScorer(ScorerError("This pair could not be measured.")), TYPED, ask=True)
    assert "could not be measured" in drawn
    assert not is_coming


@pytest.mark.parametrize("content", ["a: [", "words: {positive: same, negative: Same}", "method: srpo"])
def test_what_is_no_pair_has_no_separation(content: str) -> None:
    assert separating.drawn(KnownScorer(None), content, ask=True) == ("", False)
