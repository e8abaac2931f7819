"""The list of runs as HTML: newest first, each with its pictures, its state and the sentence it ended with."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.studio import recipe_form
from toolkit.studio.markup import picture, prose, run_url, text, word_chips
from toolkit.studio.reading import View
from toolkit.studio.run_markup import status_chip

_BLANK = '<span class="ghost picture"></span>'
GHOST = (
    f'<li class="run-card"><span class="thumbs">{_BLANK}{_BLANK}</span><div class="run-facts">'
    '<p><span class="ghost line"></span></p><p><span class="ghost line long"></span></p></div></li>'
)


def listing(cards: Sequence[str]) -> str:
    """Cards below each other."""
    return f'<ul class="runs">{"".join(cards)}</ul>'


def card(view: View, *, resumable: bool = True) -> str:
    """One run: before and after, name, state, its sentence, and where to go."""
    recipe, url, name = view.recipe, run_url(view.title), text(view.title)
    facts = recipe_form.label("methods", recipe.method.name) if recipe else ""
    words = word_chips(recipe.words[:2]) if recipe else ""
    resume = f'<button type="button" class="button small" data-resume="{name}">Resume</button>'
    steps = f'<span class="steps">{view.update} / {view.updates}</span>' if view.updates else ""
    return (
        f'<li class="run-card"><a class="thumbs" href="{url}" tabindex="-1" aria-hidden="true">{_thumbs(view)}</a>'
        f'<div class="run-facts"><p class="run-name"><a href="{url}">{name}</a>{status_chip(view)}{steps}</p>'
        f'<p class="made-of">{words}<span class="quiet">{text(facts)}</span></p>'
        f'<p class="quiet">{prose(view.sentence)}</p></div><p class="run-actions">'
        f'{resume if resumable and view.can_resume else ""}<a class="button small" href="{url}">Open</a></p></li>'
    )


def _thumbs(view: View) -> str:
    base = view.previews.get(0, {})
    result = view.previews.get(view.shown_update or 0, {})
    if not base:
        return _BLANK * 2
    index = next((i for i in base if i in result), min(base))
    shown = picture(result[index].path, "") if view.shown_update and index in result else _BLANK
    return picture(base[index].path, "") + shown


def loading() -> str:
    """The list before it is read."""
    return f'<ul class="runs faint" aria-hidden="true">{GHOST * 3}</ul>'


def empty() -> str:
    """What the list will hold, and the one thing to do."""
    return (
        '<p class="lead">No runs yet. Each will be here with its before and after, also after a restart.</p>'
        '<p><a class="button primary" href="./">Teach a taste</a></p>'
        f'<ul class="runs faint" aria-hidden="true">{GHOST * 2}</ul>'
    )
