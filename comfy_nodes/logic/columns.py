"""What the columns of a grid differ in: the LoRA, its strength, and the words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from . import hostile
from .words import NO_WORDS, Pair, Spoken

MOST_STRENGTHS = 16
STRONGEST = 100.0  # core's limit for a LoRA
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)
BETWEEN = re.compile(r"(?:^|\s+)/(?:\s+|$)")  # "and/or" is one word
OFF, OWN = "off", "own"
SILENT = Spoken(NO_WORDS, 0.0)
LABEL = 60  # characters; the picture shortens further where a column is narrower


@dataclass(frozen=True)
class Compared:
    """One LoRA of the comparison: what a column's strength is multiplied by, and its own words."""

    lora_name: str
    strength: float
    words: Spoken


@dataclass(frozen=True)
class Take:
    """What a column is sampled with. Whatever changes nothing is left out, so that equal pictures are equal takes."""

    lora_name: str = ""
    strength: float = 0.0
    words: Spoken = SILENT


@dataclass(frozen=True)
class Column:
    """A take under its label, line by line."""

    label: tuple[str, ...]
    take: Take


BASE = Column(("base",), Take())


def read_strengths(text: str) -> tuple[float, ...]:
    """ "0.5, 1, 1.5" in its order, each once. Raises ValueError with a sentence for anything else."""
    parts = [part for part in re.split(r"[,;\s]+", text) if part]
    wrong = [part for part in parts if not NUMBER.fullmatch(part) or abs(float(part)) > STRONGEST]
    if wrong:
        raise ValueError(
            f"“{hostile.line(wrong[0], 20)}” is no strength. Write numbers from {-STRONGEST:g} to {STRONGEST:g} with "
            "commas between them, such as 0.5, 1, 1.5."
        )
    values = tuple(dict.fromkeys(float(part) + 0.0 for part in parts))  # -0 is 0
    if not 1 <= len(values) <= MOST_STRENGTHS:
        raise ValueError(f"There are {len(values)} strengths. Write 1 to {MOST_STRENGTHS}, such as 0.5, 1, 1.5.")
    return values


def read_variants(text: str) -> tuple[Pair | None, ...]:
    """One a line, each once: `positive / negative`, `off` for no words, `own` (None here) for the LoRA's own."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return tuple(dict.fromkeys(map(_variant, lines))) or (NO_WORDS,)


def _variant(line: str) -> Pair | None:
    if line.casefold() in (OFF, OWN):
        return None if line.casefold() == OWN else NO_WORDS
    positive, *negative = BETWEEN.split(line, maxsplit=1)
    return Pair(positive.strip(), "".join(negative).strip())


def plan(
    compared: Sequence[Compared], strengths: Sequence[float], variants: Sequence[Pair | None], word_strength: float
) -> tuple[Column, ...]:
    """The base, then every LoRA at every strength with every variant. A label says only what differs."""
    columns = [BASE]
    for lora in compared:
        name = [hostile.line(PurePosixPath(lora.lora_name).stem, LABEL)] if len(compared) > 1 else []
        for strength in (each * lora.strength for each in strengths):
            for variant in variants:
                pair, by = (variant, 1.0) if variant is not None else (lora.words.pair, lora.words.strength)
                words = Spoken(pair, word_strength * by)
                shown = _shown(words) if len(variants) > 1 else []
                label = (*name, f"strength {strength:.4g}", *shown)
                columns.append(Column(label, _take(lora.lora_name, strength, words)))
    return tuple(dict.fromkeys(columns))


def _take(lora_name: str, strength: float, words: Spoken) -> Take:
    said = words if words.strength and words.pair != NO_WORDS else SILENT
    return Take(lora_name, strength, said) if strength else Take(words=said)


def _shown(words: Spoken) -> list[str]:
    """Its lines of a label."""
    if not words.strength or words.pair == NO_WORDS:
        return ["no words"]
    signed = (("+", words.pair.positive), ("-", words.pair.negative))
    return [f"{sign} {hostile.unescape(hostile.line(word, LABEL))}" for sign, word in signed if word]
