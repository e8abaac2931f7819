"""The Start page's drawn parts: what the words look like, how far apart a reward sees them, what a choice means."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit import words
from toolkit.studio import examples, recipe_form, tastes
from toolkit.studio.markup import notice, run_url, sign, text
from toolkit.studio.recipe_form import Fields
from toolkit.studio.speech import paragraph, phrase, say, told
from toolkit.word_scorer import Separation
from toolkit.words import WordPair

STEPS = (phrase("Base"), phrase("Taste"), phrase("Check"), phrase("Go"))


def head() -> str:
    """Title and the numbered line, whose parts lead to their cards."""
    steps = "".join(f'<li><a href="#step-{at}"><b>{at}</b> {say(name)}</a></li>' for at, name in enumerate(STEPS, 1))
    return (
        f"<h1>{say('Teach a taste')}</h1>"
        f'<p class="lead">{say("A base, a taste, a look at what it needs. Then you hold a LoRA.")}</p>'
        f'<nav aria-label="{say("The way")}"><ol class="walk">{steps}</ol></nav>'
    )


def taste(name: str) -> str:
    """What that kind of taste is, and what the words are for where pictures teach."""
    words_too = say("Words are optional here: the checks then measure that direction too.")
    about = paragraph(say(tastes.TASTES[name].about), "" if name == tastes.WORDS else words_too)
    return f'<p class="quiet">{text(about)}</p>'


def pictures(fields: Fields) -> str:
    """A few pictures of each word, where the demo knows them."""
    sides = [
        _side(say("more like"), fields.positive, examples.pictures(fields.positive), "more"),
        _side(say("less like"), fields.negative, examples.pictures(fields.negative), "less"),
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
    hover = say("Of two pictures, one drawn with each word: how often the reward finds the right one. 0.5 is chance.")
    sentence = text(told(result.sentence))
    return (
        f'<div class="separation" title="{text(hover)}"><meter min="0.5" max="1" low="0.8" optimum="1" '
        f'value="{result.value:.3f}" class="{tone}" aria-label="{say("separation")}"></meter><p>{sentence} '
        f'<span class="quiet">{say("Reward")}{say(": ")}{text(reward)}</span></p></div>'
    )


def measuring() -> str:
    """While the scorer draws and looks."""
    return (
        '<div class="separation"><span class="ghost bar"></span>'
        f'<p class="quiet">{say("Measuring how well the reward tells them apart. You can start meanwhile.")}</p></div>'
    )


def not_yet() -> str:
    """While the words are still being typed."""
    return (
        '<div class="separation"><span class="ghost bar"></span>'
        f'<p class="quiet">{say("Leave the box to see how well the reward tells them apart.")}</p></div>'
    )


def unmeasured(sentence: str) -> str:
    """No number, and why."""
    return f'<div class="separation">{notice("quiet", sentence)}</div>'


def chosen_method(name: str) -> str:
    """One sentence about the method."""
    return f'<p class="quiet">{text(told(recipe_form.summary("methods", name)))}</p>'


def queued(name: str, place: int) -> str:
    """A run was queued: where it stands, and the way to it."""
    where = say("is #{place} in line.", place=place) if place else say("has started: nothing was before it.")
    links = f'<a href="{run_url(name)}">{say("Its page")}</a> · <a href="./runs">{say("All runs")}</a>'
    words = f"<p><b>{text(name)}</b> {where} {links}</p>"
    return f'<div class="notice good" role="status">{sign("good")}<div>{words}</div></div>'


def budgets() -> list[tuple[str, int]]:
    """(label, updates) of the named budgets."""
    return [
        (say("{name} · {count} updates", name=say(name), count=updates), updates)
        for name, updates in recipe_form.BUDGETS.items()
    ]


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
            return f'<p class="quiet">{text(remark(entry.note))}</p>'
    return ""


def remark(note: str) -> str:
    """A remark of the library as a sentence."""
    return told(f"{note[0].upper()}{note[1:]}.")
