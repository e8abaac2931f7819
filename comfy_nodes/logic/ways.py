"""The ways to apply words, and the table of them. A way knows no text encoder: it is given `encode`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import conditioning
from .conditioning import Conditioning, DoNotFit
from .texts import prefixed, weighted
from .words import Spoken

Encode = Callable[[str], Conditioning]


@dataclass(frozen=True)
class Request:
    """What is to be said. span: where in sampling the words act, for the way that asks; weights: see `texts`."""

    prompt: str
    negative_prompt: str
    words: Sequence[Spoken]
    span: tuple[float, float] = (0.0, 0.5)
    weights: bool = True


@dataclass(frozen=True)
class Sent:
    """Both conditionings, the texts that were encoded for them, and a sentence where something was done otherwise."""

    positive: Conditioning
    negative: Conditioning
    positive_text: str
    negative_text: str
    note: str = ""


def apply(way: str, request: Request, encode: Encode) -> Sent:
    """The request in this way; words of strength 0 leave everything as it was, to the bit.

    Where a family's conditioning does not allow the way, the words go before the prompt, and the note says so.
    """
    spoken = [each for each in request.words if each.strength != 0 and (each.pair.positive or each.pair.negative)]
    plain = Sent(encode(request.prompt), encode(request.negative_prompt), request.prompt, request.negative_prompt)
    if not spoken:
        return plain
    said = Request(request.prompt, request.negative_prompt, spoken, request.span, request.weights)
    try:
        return WAYS[way](said, plain, encode)
    except DoNotFit as error:
        sent = prefix(said, plain, encode)
        note = f"{way} is not possible here: {error}; the words were put before the prompt"
        return Sent(sent.positive, sent.negative, sent.positive_text, sent.negative_text, note)


def prefix(request: Request, plain: Sent, encode: Encode) -> Sent:
    """ "word. prompt", as training writes it."""
    positive, negative = _texts(request)
    partly = not request.weights and any(each.strength != 1 for each in request.words)
    note = "this text encoder reads no weights: the words act at strength 1" if partly else ""
    return Sent(encode(positive), encode(negative), positive, negative, note)


def average(request: Request, plain: Sent, encode: Encode) -> Sent:
    """(1 - Σ s) · plain + Σ s · worded, on both sides: halfway at 0.5, beyond the word above 1."""
    sides: list[tuple[Conditioning, str]] = []
    for side, own, prompt in (
        ("positive", plain.positive, request.prompt),
        ("negative", plain.negative, request.negative_prompt),
    ):
        words = [(word, strength) for word, strength in _side(request, side) if word]
        texts = [(strength, prefixed([(word, 1.0)], prompt, weights=request.weights)) for word, strength in words]
        rest = 1 - sum(strength for strength, _ in texts)
        terms = [(rest, own), *((strength, encode(text)) for strength, text in texts)]
        sides.append((conditioning.weighted_sum(terms), _formula([(rest, prompt), *texts])))
    (positive, positive_text), (negative, negative_text) = sides
    return Sent(positive, negative, positive_text, negative_text)


def direction(request: Request, plain: Sent, encode: Encode) -> Sent:
    """plain + Σ s · (positive word's - negative word's) on the positive side; the negative side stays as it is."""
    terms: list[tuple[float, Conditioning]] = [(1.0, plain.positive)]
    texts = [(1.0, request.prompt)]
    for each in request.words:
        for sign, word in ((1, each.pair.positive), (-1, each.pair.negative)):
            text = prefixed([(word, 1.0)], request.prompt, weights=request.weights)
            terms.append((sign * each.strength, encode(text)))
            texts.append((sign * each.strength, text))
    return Sent(conditioning.weighted_sum(terms), plain.negative, _formula(texts), plain.negative_text)


def concat(request: Request, plain: Sent, encode: Encode) -> Sent:
    """The words' tokens after the prompt's, each text encoded for itself."""
    sides: list[tuple[Conditioning, str]] = []
    for side, own, prompt in (
        ("positive", plain.positive, request.prompt),
        ("negative", plain.negative, request.negative_prompt),
    ):
        shown = [weighted(word, strength, weights=request.weights) for word, strength in _side(request, side)]
        words = [word for word in shown if word]
        sides.append((conditioning.concat(own, *map(encode, words)), " | ".join([prompt, *words])))
    (positive, positive_text), (negative, negative_text) = sides
    return Sent(positive, negative, positive_text, negative_text)


def timestep_range(request: Request, plain: Sent, encode: Encode) -> Sent:
    """The prefix during one part of sampling, the plain prompt during the rest."""
    sent = prefix(request, plain, encode)
    return Sent(
        conditioning.timestep_range(plain.positive, sent.positive, *request.span),
        conditioning.timestep_range(plain.negative, sent.negative, *request.span),
        sent.positive_text,
        sent.negative_text,
        sent.note,
    )


WAYS: dict[str, Callable[[Request, Sent, Encode], Sent]] = {
    "prefix": prefix,
    "average": average,
    "direction": direction,
    "concat": concat,
    "timestep range": timestep_range,
}


def reads_weights(tokens: Any) -> bool:
    """Whether the tokens of "(x:1.5)" carry a weight, in `clip.tokenize`'s form: encoder → rows of (token, weight)."""
    rows = [row for rows in tokens.values() for row in rows]
    return any(entry[1] != 1 for row in rows for entry in row)


def _side(request: Request, side: str) -> list[tuple[str, float]]:
    """The words of one side with their strengths."""
    return [(getattr(each.pair, side), each.strength) for each in request.words]


def _texts(request: Request) -> tuple[str, str]:
    """Both texts with their words before them."""
    return (
        prefixed(_side(request, "positive"), request.prompt, weights=request.weights),
        prefixed(_side(request, "negative"), request.negative_prompt, weights=request.weights),
    )


def _formula(terms: Sequence[tuple[float, str]]) -> str:
    """What was added up, one text a line; a single text of weight 1 is only itself."""
    used = [(weight, text) for weight, text in terms if weight != 0]
    if [weight for weight, _ in used] == [1]:
        return used[0][1]
    return "\n".join(f"{weight:+g} × [{text}]" for weight, text in used)
