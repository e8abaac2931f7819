"""Several LoRAs in a row: what travels from node to node."""

from __future__ import annotations

from dataclasses import dataclass

from . import lora_files
from .logic.words import NO_WORDS, Pair, Spoken, chosen


@dataclass(frozen=True)
class Link:
    """One LoRA with its strength; `typed` words replace those in its file, `words` says which of the two count."""

    lora_name: str
    strength: float
    word_strength: float
    typed: Pair = NO_WORDS
    words: str = "both"

    def spoken(self) -> Spoken:
        """Its words at their strength. Raises ValueError for a file that cannot be read."""
        typed = self.typed.positive or self.typed.negative
        pair = self.typed if typed else lora_files.read_about(self.lora_name).first
        return Spoken(chosen(pair, self.words), self.word_strength)


Chain = tuple[Link, ...]
