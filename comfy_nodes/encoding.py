"""Texts into conditionings, with the user's text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from .logic import ways
from .logic.conditioning import Conditioning
from .logic.words import Spoken

PROBE = "(x:1.5)"


def encoder(clip: Any) -> ways.Encode:
    """Text → conditioning; each text is encoded once."""

    @cache
    def encode(text: str) -> Conditioning:
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))

    return encode


def say(
    clip: Any, way: str, prompt: str, negative_prompt: str, words: Sequence[Spoken], start: float, end: float,
    encode: ways.Encode | None = None,
) -> ways.Sent:  # fmt: skip
    """Prompts and words in the chosen way. encode: an `encoder` that has read some of the texts before."""
    weights = ways.reads_weights(clip.tokenize(PROBE))
    request = ways.Request(prompt, negative_prompt, words, (start, end), weights)
    return ways.apply(way, request, encode or encoder(clip))


def account(way: str, sent: ways.Sent, words: Sequence[Spoken]) -> str:
    """What was done, for the screen."""
    said = [f"{each.pair} at {each.strength:g}" for each in words if each.strength and str(each.pair).strip(" /")]
    return "\n".join(filter(None, [f"{way}: {'; '.join(said)}" if said else "no words", sent.note]))
