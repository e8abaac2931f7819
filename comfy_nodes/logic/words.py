"""Word pairs: out of a LoRA's header, out of the shipped library, and how strongly each is to work."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .hostile import line

LIBRARY = Path(__file__).resolve().parents[1] / "words.json"


@dataclass(frozen=True)
class Pair:
    """What pictures should be more like, and what less; ready for a prompt. Either may be empty."""

    positive: str = ""
    negative: str = ""

    def __str__(self) -> str:
        return f"{self.positive} / {self.negative}"


NO_WORDS = Pair()
CHOICES = ("both", "positive", "negative", "none")


def chosen(pair: Pair, words: str) -> Pair:
    """The pair without the words that are switched off. Raises ValueError with a sentence for no choice of ours."""
    if words not in CHOICES:
        raise ValueError(refusal(words))
    return Pair(
        pair.positive if words in ("both", "positive") else "", pair.negative if words in ("both", "negative") else ""
    )


def refusal(words: str) -> str:
    """What is said to something else than a choice."""
    return f"words cannot be `{line(words, 40)}`. Choose {', '.join(CHOICES[:-1])} or {CHOICES[-1]}."


@dataclass(frozen=True)
class Spoken:
    """A pair and its strength: 0 none, 1 as trained, up to 2."""

    pair: Pair
    strength: float = 1.0


@cache
def library() -> dict[str, Pair]:
    """The shipped pairs by the text they have in a dropdown; empty when the file is damaged, which the log tells."""
    try:
        entries = json.loads(LIBRARY.read_text(encoding="utf-8"))["pairs"]
        pairs = [Pair(entry["positive"], entry["negative"]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        logging.warning("Palate: its own words.json cannot be read (%s); install the pack anew.", error)
        return {}
    return {str(pair): pair for pair in pairs}
