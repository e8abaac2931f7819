"""The Words page's drawn parts: a pair's figures, pictures along it, the pairs beside it, and the library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from toolkit import picture_sets
from toolkit.errors import UsageError
from toolkit.picture_sets import PictureSet
from toolkit.studio import examples, start_markup
from toolkit.studio.markup import notice, number, prose, text, word_chips
from toolkit.word_scorer import Separation
from toolkit.words import WordPair

SHOWN = 8  # pictures at each end
UNMEASURED = "unmeasured here"
GHOST = '<span class="ghost picture"></span>'


@dataclass(frozen=True)
class Row:
    """A pair of the library or of the favourites. shipped: a figure of the library; measured: one of this computer."""

    pair: WordPair
    note: str
    shipped: float | None
    measured: Separation | None
    is_coming: bool = False
    trouble: str = ""


def teach_url(pair: WordPair) -> str:
    """The Start page with this pair in its form."""
    return f"./?{urlencode({'positive': pair.positive, 'negative': pair.negative})}"


def teach(pair: WordPair) -> str:
    """The page's one main action."""
    return f'<a class="button primary" id="teach" href="{text(teach_url(pair))}">Teach this</a>'


def no_pair() -> str:
    """While a box is empty."""
    return '<p class="quiet">Type a word in both boxes, or look at a pair of the library below.</p>'


def shipped(value: float, reward: str) -> str:
    """A figure of the library, and how it came about."""
    return start_markup.separation(Separation(value), reward) + (
        '<p class="quiet">Shipped: 24 prompts drawn under each word by the demo\'s base.</p>'
    )


def separation(found: Separation | None, reward: str) -> str:
    """A figure of this computer, or its blank."""
    return start_markup.measuring() if found is None else start_markup.separation(found, reward)


def ranked(pair: WordPair, pictures: PictureSet, margins: Sequence[float | None] | None) -> str:
    """Both ends of the pictures along the pair, or their blanks."""
    if margins is None:
        below = '<figcaption><span class="ghost line"></span></figcaption>'
        blank = f'<figure><div class="tiles">{GHOST * SHOWN}</div>{below}</figure>'
        return f'<div class="examples along">{blank * 2}</div>'
    order = picture_sets.ranked(margins)
    if not order:
        return notice("watch", "None of these pictures can be read.")
    half = min(SHOWN, (len(order) + 1) // 2)
    ends = (
        (pair.positive, "more", order[:half]),
        (pair.negative, "less", order[::-1][: min(SHOWN, len(order) - half)]),
    )
    drawn = "".join(_end(word, kind, places, pictures, margins) for word, kind, places in ends if places)
    unread = len(margins) - len(order)
    more = f" {unread} could not be read." if unread else ""
    return (
        f'<div class="examples along">{drawn}</div><p class="quiet">Of {len(order)} pictures, the two ends. '
        f"The number is the score with the first word minus the score with the second.{more}</p>"
    )


def _end(word: str, kind: str, places: Sequence[int], pictures: PictureSet, margins: Sequence[float | None]) -> str:
    tiles = "".join(_tile(*pictures.pictures[place], margins[place]) for place in places)
    return (
        f'<figure><div class="tiles">{tiles}</div><figcaption><span class="quiet">most like</span> '
        f'<span class="chip {kind}">{text(word)}</span></figcaption></figure>'
    )


def _tile(name: str, caption: str, margin: float | None) -> str:
    try:
        source = examples.thumbnail(name)
    except UsageError:  # it went away meanwhile
        return GHOST
    return (
        f'<span class="tile"><img src="{source}" alt="{text(caption)}" title="{text(caption)}">'
        f'<span class="quiet">{number(margin, 2)}</span></span>'
    )


def no_pictures(error: UsageError, source: str) -> str:
    """Nothing to rank, and the next action."""
    to_start = '<p><a class="button small" href="./">Teach a taste</a></p>' if source == "runs" else ""
    return f'<div class="empty">{notice("quiet", str(error))}{to_start}</div>'


def cosines(beside: Sequence[tuple[float, WordPair]] | None, count: int) -> str:
    """How the pair's direction lies to the others', or blanks for so many."""
    if beside is None:
        row = '<li><span class="ghost line long"></span><span class="ghost bar"></span></li>'
        return f'<ul class="cosines">{row * min(count, 8)}</ul>'
    rows = "".join(
        f'<li><span class="pair-name">{word_chips([pair])}</span>{_bar(value)}'
        f'<span class="value">{number(value)}</span><span class="quiet">{_meaning(value)}</span></li>'
        for value, pair in beside
    )
    return f'<ul class="cosines">{rows}</ul>'


def _meaning(value: float) -> str:
    if abs(value) < 0.3:
        return "its own way"
    if abs(value) < 0.7:
        return "partly the same" if value > 0 else "partly against it"
    return "almost the same" if value > 0 else "the opposite"


def _bar(value: float) -> str:
    """From the middle to the right for the same way, to the left for the opposite."""
    start, width = 100 + min(0.0, value) * 100, abs(value) * 100
    return (
        f'<svg class="signed" viewBox="0 0 200 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="ground" width="200" height="8"/>'
        f'<rect class="fill" x="{start:.1f}" width="{width:.1f}" height="8"/>'
        '<rect class="zero" x="99" width="2" height="8"/></svg>'
    )


def library(rows: Sequence[Row], kept: Sequence[WordPair], trouble: str) -> str:
    """Favourites, then what ships."""
    favourite = {str(pair) for pair in kept}
    own, others = [row for row in rows if str(row.pair) in favourite], [r for r in rows if str(r.pair) not in favourite]
    drawn = "".join(_row(row, is_favourite=True) for row in own)
    if not own and not trouble:
        drawn = '<li class="none quiet">None yet. ☆ keeps a pair here and puts it first on Start.</li>'
    return (
        f'<h2>Favourites</h2>{trouble}<ul class="pairs">{drawn}</ul>'
        f'<h2>Library</h2><ul class="pairs">{"".join(_row(row, is_favourite=False) for row in others)}</ul>'
    )


def _row(row: Row, *, is_favourite: bool) -> str:
    pair = row.pair
    data = f'data-positive="{text(pair.positive)}" data-negative="{text(pair.negative)}"'
    name = text(str(pair))
    sign, does = ("★", "Remove from favourites") if is_favourite else ("☆", "Keep as favourite")
    note = f'<p class="quiet">{prose(row.note[0].upper() + row.note[1:])}.</p>' if row.note else ""
    return (
        f'<li class="pair-row"><div class="pair-name">{word_chips([pair])}{note}</div>{_figure(row)}'
        f'<p class="pair-actions"><button type="button" class="button small star" data-does="keep" {data} '
        f'aria-pressed="{str(is_favourite).lower()}" aria-label="{does}: {name}" title="{does}">{sign}</button>'
        f'<button type="button" class="button small" data-does="look" {data} aria-label="Look at {name}">Look</button>'
        f'<a class="button small" href="{text(teach_url(pair))}" aria-label="Teach {name}">Teach this</a></p></li>'
    )


def _figure(row: Row) -> str:
    """How well the chosen reward tells the two apart; never a number that nobody measured."""
    value = row.shipped if row.shipped is not None else row.measured.value if row.measured else None
    if value is None:
        said = row.trouble or UNMEASURED
        return '<p class="figure"><span class="ghost bar"></span></p>' if row.is_coming else _said(said)
    tone, word = ("watch", "hardly") if Separation(value).is_weak else ("good", "apart")
    source = "shipped" if row.shipped is not None else "measured here"
    return (
        f'<p class="figure" title="{source}"><meter min="0.5" max="1" low="0.8" optimum="1" value="{value:.3f}" '
        f'aria-label="told apart"></meter><b>{value:.2f}</b> <span class="{tone}">{word}</span></p>'
    )


def _said(sentence: str) -> str:
    return f'<p class="figure quiet">{text(sentence)}</p>'
