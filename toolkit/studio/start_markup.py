"""The Start page's drawn parts: what the words look like, how far apart a reward sees them, what a choice means."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit import words
from toolkit.studio import examples, recipe_form, tastes
from toolkit.studio.markup import notice, run_url, sign, text
from toolkit.studio.recipe_form import Fields
from toolkit.word_scorer import Separation
from toolkit.words import WordPair

STEPS = ("Base", "Taste", "Check", "Go")


def head() -> str:
    """Title and the numbered line, whose parts lead to their cards."""
    steps = "".join(f'<li><a href="#step-{at}"><b>{at}</b> {name}</a></li>' for at, name in enumerate(STEPS, 1))
    return (
        '<h1>Teach a taste</h1><p class="lead">A base, a taste, a look at what it needs. Then you hold a LoRA.</p>'
        f'<nav aria-label="Steps"><ol class="walk">{steps}</ol></nav>'
    )


def taste(name: str) -> str:
    """What that kind of taste is, and what the words are for where pictures teach."""
    words_too = "" if name == tastes.WORDS else " Words are optional here: the checks then measure that direction too."
    return f'<p class="quiet">{text(tastes.TASTES[name].about + words_too)}</p>'


def pictures(fields: Fields) -> str:
    """A few pictures of each word, where the demo knows them."""
    sides = [
        _side("more like", fields.positive, examples.pictures(fields.positive), "more"),
        _side("less like", fields.negative, examples.pictures(fields.negative), "less"),
    ]
    if not any(sides):
        return ""
    return f'<div class="examples">{"".join(sides)}</div>'


def _side(direction: str, word: str, found: tuple[tuple[str, str], ...], kind: str) -> str:
    if not found:
        return ""
    tiles = "".join(f'<img src="{url}" alt="{text(f"{name}, {word}")}">' for name, url in found)
    return (
        f'<figure><div class="tiles">{tiles}</div><figcaption><span class="quiet">{direction}</span> '
        f'<span class="chip {kind}">{text(word)}</span></figcaption></figure>'
    )


def separation(result: Separation, reward: str) -> str:
    """The bar and its sentence."""
    tone = "watch" if result.is_weak else "good"
    hover = "Of two pictures, one drawn with each word: how often the reward finds the right one. 0.5 is chance."
    return (
        f'<div class="separation" title="{text(hover)}"><meter min="0.5" max="1" low="0.8" optimum="1" '
        f'value="{result.value:.3f}" class="{tone}" aria-label="separation"></meter><p>{text(result.sentence)} '
        f'<span class="quiet">Reward: {text(reward)}</span></p></div>'
    )


def measuring() -> str:
    """While the scorer draws and looks."""
    return (
        '<div class="separation"><span class="ghost bar"></span>'
        '<p class="quiet">Measuring how well the reward tells them apart. You can start meanwhile.</p></div>'
    )


def not_yet() -> str:
    """While the words are still being typed."""
    return (
        '<div class="separation"><span class="ghost bar"></span>'
        '<p class="quiet">Leave the box to see how well the reward tells them apart.</p></div>'
    )


def unmeasured(sentence: str) -> str:
    """No number, and why."""
    return f'<div class="separation">{notice("quiet", sentence)}</div>'


def chosen_method(name: str) -> str:
    """One sentence about the method."""
    return f'<p class="quiet">{text(recipe_form.summary("methods", name))}</p>'


def queued(name: str, place: int) -> str:
    """A run was queued: where it stands, and the way to it."""
    where = f"is #{place} in line" if place else "has started: nothing was before it"
    links = f'<a href="{run_url(name)}">Its page</a> · <a href="./runs">All runs</a>'
    told = f"<p><b>{text(name)}</b> {where}. {links}</p>"
    return f'<div class="notice good" role="status">{sign("good")}<div>{told}</div></div>'


def library(favourites: Sequence[WordPair] = ()) -> list[tuple[str, str]]:
    """(label, value) of the favourites, then of the library's other pairs."""
    kept = [key(pair) for pair in favourites]
    shipped = [key(entry.pair()) for entry in words.library()]
    return [(f"★ {name}", name) for name in kept] + [(name, name) for name in shipped if name not in kept]


def key(pair: WordPair) -> str:
    """A pair as one value of a choice."""
    return f"{pair.positive} / {pair.negative}"


def note(fields: Fields) -> str:
    """The library's remark on a pair."""
    for entry in words.library():
        if (entry.positive, entry.negative) == (fields.positive, fields.negative) and entry.note:
            return f'<p class="quiet">{text(entry.note[0].upper() + entry.note[1:])}.</p>'
    return ""
