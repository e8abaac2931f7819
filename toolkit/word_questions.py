"""What may be asked of the child that measures word pairs, one JSON line each; equal questions have equal answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.words import WordPair

Ask = Literal["separations", "cosines", "margins"]


class Question(BaseModel):
    """About one or many pairs at once.

    separations   per pair [AUC, cosine of its two texts or null], on pictures that `base` draws
    cosines       per pair the cosines of its direction with every pair's, in -1..1
    margins       per picture its score along the one pair's direction, or null where it cannot be read

    The answer is a line {"answer": [...]} or {"error": "..."}.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: Ask
    reward: str
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1, max_length=500)
    base: str = ""
    pictures: tuple[str, ...] = Field(default=(), max_length=1000)  # as toolkit.picture_sets names them
    digest: str = ""  # of the pictures: a changed file makes another question

    def words(self) -> list[WordPair]:
        """The pairs, checked again. Raises ValueError."""
        return [WordPair(positive=positive, negative=negative) for positive, negative in self.pairs]
