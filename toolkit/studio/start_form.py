"""What the Start page shows for a recipe: each part by its name, for the page to put where it belongs."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

from toolkit import words
from toolkit.errors import UsageError
from toolkit.favourites import Favourites
from toolkit.studio import recipe_form, separating, settings_form, start_markup, tastes
from toolkit.studio.markup import problem
from toolkit.studio.planning import Planning
from toolkit.studio.recipe_form import Fields
from toolkit.studio.settings_form import Wrong
from toolkit.studio.speech import say
from toolkit.word_scorer import WordScorer

Parts = dict[str, Any]  # what changed, by name; the rest of the page stays
FIELDS = ("taste", "positive", "negative", "folder", "base", "method", "updates")
BESIDE = (
    "trouble", "library", "budget", "about", "about_taste", "pictures", "separation", "settings", "found", "plan",
    "fit", "seen",
)  # fmt: skip


class StartForm:
    """Answers for one Studio; holds nothing of a visitor's."""

    def __init__(self, scorer: WordScorer, favourites: Favourites, planning: Planning) -> None:
        """scorer measures word pairs, favourites are offered first, planning looks at folders and needs."""
        self._scorer, self._favourites, self._planning = scorer, favourites, planning

    def read(self, content: str, *, everything: bool = False) -> Parts:
        """Fields and what stands beside them for YAML that was typed; all stays while it is no recipe."""
        try:
            fields = recipe_form.fields(content)
        except UsageError as error:
            return {"trouble": problem(error)}
        shown = dict(zip(FIELDS, astuple(fields), strict=True)) | _shape(fields.taste)
        return shown | self._beside(content, fields, everything=everything)

    def opened(self, name: str, *, everything: bool = False) -> Parts:
        """A ready recipe."""
        try:
            content = recipe_form.opened(name)
        except UsageError as error:
            return {"trouble": problem(error)}
        return {"yaml": content, **self.read(content, everything=everything)}

    def fill(self, content: str, wanted: Fields, *, everything: bool = False) -> Parts:
        """The YAML after a field changed, and what stands beside; text that is no YAML is kept as it is.

        No text field is among the parts: one that is being typed in would lose letters.
        """
        try:
            shape = _shape(wanted.taste) if recipe_form.fields(content).taste != wanted.taste else {}
            filled = recipe_form.fill(content, wanted)
            method = recipe_form.fields(filled).method
        except UsageError as error:
            return {"trouble": problem(error)}
        chosen = {"yaml": filled, "method": method}
        return chosen | shape | self._beside(filled, replace(wanted, method=method), everything=everything)

    def pick(self, content: str, chosen: str, wanted: Fields, *, everything: bool = False) -> Parts:
        """A pair of the library, into YAML and fields."""
        offered = (*self._favourites.offered(), *(entry.pair() for entry in words.library()))
        pair = next((pair for pair in offered if start_markup.key(pair) == chosen), None)
        if pair is None:
            return self.fill(content, wanted, everything=everything)
        wanted = replace(wanted, positive=pair.positive, negative=pair.negative)
        return {
            "positive": pair.positive,
            "negative": pair.negative,
            **self.fill(content, wanted, everything=everything),
        }

    def put(self, content: str, section: str, setting: str, typed: str, *, everything: bool = False) -> Parts:
        """One field of the settings, into the YAML; what cannot be is said at the field."""
        try:
            changed = settings_form.put(content, section, setting, typed)
        except UsageError as error:
            return {"settings": settings_form.drawn(content, Wrong(section, setting, typed[:200], error))}
        return {"yaml": changed, **self.read(changed, everything=everything)}

    def fit(self, content: str, card: str, *, everything: bool = False) -> Parts:
        """The settings that make it fit, into the YAML."""
        try:
            changed = recipe_form.put(content, self._planning.needs(content, card).settings)
        except UsageError as error:
            return {"trouble": problem(error)}
        return {"yaml": changed, **self.read(changed, everything=everything)}

    def look(self, content: str, card: str) -> tuple[Parts, bool]:
        """What takes time, as far as it is known, and whether more is to come."""
        separation, is_measured = separating.drawn(self._scorer, content, ask=True)
        needs = self._planning.needs(content, card)
        parts: Parts = {"separation": separation, "plan": needs.drawn, "fit": bool(needs.settings)}
        is_looked_at = False
        try:
            fields = recipe_form.fields(content)
            parts["found"], is_looked_at = self._planning.holds(fields.taste, fields.folder)
        except UsageError:
            pass
        return parts, is_measured or needs.is_coming or is_looked_at

    def library(self) -> list[tuple[str, str]]:
        """The pairs on offer, favourites first."""
        return start_markup.library(self._favourites.offered())

    def _beside(self, content: str, fields: Fields, *, everything: bool) -> Parts:
        pair = f"{fields.positive} / {fields.negative}"
        is_words = fields.taste == tastes.WORDS
        error = recipe_form.trouble(content)
        return {
            "trouble": problem(error) if error else "",
            "library": pair if pair in [value for _, value in self.library()] else None,
            "budget": fields.updates if fields.updates in recipe_form.BUDGETS.values() else None,
            "methods": [
                (recipe_form.label("methods", name), name)
                for name in tastes.methods(fields.taste, everything=everything, chosen=fields.method)
            ],
            "about": start_markup.chosen_method(fields.method),
            "pictures": start_markup.note(fields) + start_markup.pictures(fields) if is_words else "",
            "separation": separating.drawn(self._scorer, content, ask=False)[0],
            "settings": settings_form.drawn(content),
            "seen": list(astuple(fields)),
        }


def _shape(taste: str) -> Parts:
    """What the card of the taste looks like."""
    return {
        "about_taste": start_markup.taste(taste),
        "is_words": taste == tastes.WORDS,
        "has_folder": taste != tastes.WORDS,
        "folder_label": say(tastes.TASTES[taste].folder or "Folder"),
        "found": "",
    }
