"""How far apart a reward sees a recipe's words: shipped with the library, known, being measured, or not yet asked."""

from __future__ import annotations

from pydantic import ValidationError

from toolkit import words
from toolkit.errors import UsageError
from toolkit.studio import recipe_form, start_markup
from toolkit.word_scorer import ScorerError, Separation, WordScorer
from toolkit.words import WordPair


def drawn(scorer: WordScorer, content: str, *, ask: bool) -> tuple[str, bool]:
    """The line about this YAML's pair, and whether an answer is on its way; with `ask`, an unknown pair is measured."""
    try:
        fields, reward = recipe_form.fields(content), recipe_form.reward(content)
        pair = WordPair(positive=fields.positive, negative=fields.negative)
    except (UsageError, ValidationError):
        return "", False
    shipped = words.measured_separation(pair, reward, fields.base)
    if shipped is not None:
        return start_markup.separation(Separation(shipped), reward), False
    try:
        look = scorer.glance if ask else scorer.known
        found = look(pair, base=fields.base, reward=reward)
    except ScorerError as error:
        return start_markup.unmeasured(str(error)), False
    if found is not None:
        return start_markup.separation(found, reward), False
    return (start_markup.measuring(), True) if ask else (start_markup.not_yet(), False)
