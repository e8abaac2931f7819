"""What the Words page shows of a pair under a reward: figures that ship, are known, on their way, or cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolkit import catalogue, picture_sets, recipe, words
from toolkit.errors import UsageError
from toolkit.favourites import Favourites
from toolkit.picture_sets import PictureSet
from toolkit.studio import recipe_form, tastes, words_markup
from toolkit.studio.markup import notice, problem
from toolkit.studio.speech import phrase, say, told
from toolkit.word_scorer import ScorerError, WordScorer
from toolkit.words import WordPair

REWARDS = "rewards"
SOURCES = {"demo": phrase("The demo's"), "runs": phrase("My runs'"), "folder": phrase("A folder of mine")}


@dataclass(frozen=True)
class Wanted:
    """What a visitor has chosen; nothing about it is trusted."""

    positive: str
    negative: str
    reward: str
    source: str
    folder: str
    measure_all: bool

    def pair(self) -> WordPair | None:
        """The pair, or None while a word is missing. Raises UsageError when the two are no pair."""
        if not str(self.positive or "").strip() or not str(self.negative or "").strip():
            return None
        try:
            return WordPair(positive=self.positive, negative=self.negative)
        except ValidationError as error:
            raise UsageError(recipe.explain(error)) from None


@dataclass(frozen=True)
class Seen:
    """The parts of the page, and whether any of them is still to come."""

    separation: str
    teach: str
    is_favourite: bool | None  # None: there is no pair
    ranked: str
    cosines: str
    library: str
    is_coming: bool


def rewards() -> list[tuple[str, str]]:
    """(label, name) of the rewards that read words."""
    known = catalogue.load()[REWARDS]
    return [choice for choice in recipe_form.choices(REWARDS) if "text_conditioned" in known[choice[1]].gives]


class Looking:
    """Looks for one Studio."""

    def __init__(self, root: Path, scorer: WordScorer) -> None:
        """root: the folder of all runs."""
        self.root, self.scorer, self.favourites = root, scorer, Favourites(root)

    def look(self, wanted: Wanted) -> Seen:
        """Everything at once. Never blocks; what takes time is asked for and drawn as a blank meanwhile."""
        if wanted.reward not in [name for _, name in rewards()]:
            return Seen(notice("watch", say("There is no such reward.")), "", None, "", "", "", is_coming=False)
        kept, trouble = self._kept()
        library, library_comes = self._library(wanted, kept)
        listed = words_markup.library(library, kept, trouble)
        try:
            pair = wanted.pair()
        except UsageError as error:
            return Seen(problem(error), "", None, "", "", listed, library_comes)
        if pair is None:
            return Seen(words_markup.no_pair(), "", None, "", "", listed, library_comes)
        parts = (self._separation(pair, wanted.reward), self._ranked(pair, wanted), self._cosines(pair, kept, wanted))
        (separation, *a), (ranked, *b), (cosines, *c) = parts
        is_favourite = str(pair) in [str(one) for one in kept]
        is_coming = any([*a, *b, *c, library_comes])
        return Seen(separation, words_markup.teach(pair), is_favourite, ranked, cosines, listed, is_coming)

    def keep(self, positive: Any, negative: Any) -> str:
        """Make the pair a favourite, or no longer one; what went wrong, or nothing."""
        try:
            pair = Wanted(positive, negative, "", "", "", measure_all=False).pair()
            if pair is None:
                raise UsageError(say("There is no pair yet."), action=say("Type two words."))
            is_kept = str(pair) in [str(one) for one in self.favourites.read()]
            (self.favourites.remove if is_kept else self.favourites.add)(pair)
        except UsageError as error:
            return problem(error)
        return ""

    def _kept(self) -> tuple[Sequence[WordPair], str]:
        try:
            return self.favourites.read(), ""
        except UsageError as error:
            return (), problem(error)

    def _separation(self, pair: WordPair, reward: str) -> tuple[str, bool]:
        shipped = words.measured_separation(pair, reward)
        if shipped is not None:
            return words_markup.shipped(shipped, reward), False
        try:
            found = self.scorer.glance(pair, reward=reward)
        except ScorerError as error:
            return problem(error), False
        return words_markup.separation(found, reward), found is None

    def _ranked(self, pair: WordPair, wanted: Wanted) -> tuple[str, bool]:
        try:
            pictures = self._pictures(wanted)
            margins = self.scorer.margins(pair, pictures, reward=wanted.reward)
        except UsageError as error:
            return words_markup.no_pictures(error, wanted.source), False
        except ScorerError as error:
            return problem(error), False
        return words_markup.ranked(pair, pictures, margins), margins is None

    def _pictures(self, wanted: Wanted) -> PictureSet:
        if wanted.source == "folder":
            return picture_sets.of_folder(str(wanted.folder or "")[: tastes.LONGEST_PLACE])
        return picture_sets.of_runs(self.root) if wanted.source == "runs" else picture_sets.demo()

    def _cosines(self, pair: WordPair, kept: Sequence[WordPair], wanted: Wanted) -> tuple[str, bool]:
        known = {str(one): one for one in (*kept, *(entry.pair() for entry in words.library()))}
        others = [one for name, one in known.items() if name != str(pair)]
        try:
            found = self.scorer.cosines([pair, *others], reward=wanted.reward)
        except ScorerError as error:
            return notice("quiet", told(str(error))), False
        beside = None if found is None else sorted(zip(found[0][1:], others, strict=True), key=lambda one: -one[0])
        return words_markup.cosines(beside, len(others)), found is None

    def _library(self, wanted: Wanted, kept: Sequence[WordPair]) -> tuple[list[words_markup.Row], bool]:
        """A row per pair, favourites first; with `measure_all` those without a figure are measured in one question."""
        shipped = words.library()
        notes = {str(entry.pair()): entry.note for entry in shipped}
        pairs = {str(pair): pair for pair in (*kept, *(entry.pair() for entry in shipped))}
        missing = [pair for pair in pairs.values() if words.measured_separation(pair, wanted.reward) is None]
        is_coming, trouble = False, ""
        if wanted.measure_all and missing:
            try:
                is_coming = not self.scorer.glance_at_all(missing, reward=wanted.reward)
            except ScorerError as error:
                trouble = str(error)
        rows = [
            words_markup.Row(
                pair, notes.get(name, ""),
                words.measured_separation(pair, wanted.reward),
                self.scorer.known(pair, reward=wanted.reward),
                is_coming, trouble,
            )
            for name, pair in pairs.items()
        ]  # fmt: skip
        return rows, is_coming
