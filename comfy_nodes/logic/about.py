"""What a LoRA file says of itself, made safe to use and to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .. import header
from . import hostile
from .words import NO_WORDS, Pair

MOST_PAIRS = 16


@dataclass(frozen=True)
class About:
    """`strength` is the recommended range; `notes` are sentences about what could not be used."""

    family: str = ""
    method: str = ""
    base: str = ""
    strength: tuple[float, float] | None = None
    pairs: tuple[Pair, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> Pair:
        """The pair that is used when none is chosen."""
        return self.pairs[0] if self.pairs else NO_WORDS

    def lines(self) -> list[str]:
        """For the screen."""
        aligned = [f"{self.method or 'aligned'} on {self.base or self.family}"] if self.method or self.base else []
        words = [f"words: {pair}" for pair in self.pairs] or ["no words in this file: it is used without"]
        low_high = [f"recommended strength {self.strength[0]:g} to {self.strength[1]:g}"] if self.strength else []
        return [*aligned, *words, *low_high, *self.notes]


def about(metadata: Mapping[str, str] | None) -> About:
    """The header, cleaned. Never raises: a file without a header, or with a broken one, still has its weights."""
    try:
        read = header.read(metadata)
    except ValueError as error:
        return About(notes=(hostile.line(str(error)),))
    if read is None:
        return About()
    pairs, notes = _pairs(read.words)
    return About(
        family=hostile.line(read.family, 40),
        method=hostile.line(read.method, 40),
        base=hostile.line(read.base, 120),
        strength=read.strength,
        pairs=pairs,
        notes=notes,
    )


def _pairs(entries: object) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """The usable pairs in their order, and why the others are not."""
    if not isinstance(entries, list):
        return (), ("the words in this file are no list",)
    pairs, notes = [], []
    for entry in entries[:MOST_PAIRS]:
        if not isinstance(entry, dict):
            notes.append("a word pair in this file is none")
            continue
        try:
            pairs.append(Pair(hostile.word(entry.get("positive")), hostile.word(entry.get("negative"))))
        except ValueError as error:
            notes.append(str(error))
    return tuple(dict.fromkeys(pairs)), tuple(dict.fromkeys(notes))
