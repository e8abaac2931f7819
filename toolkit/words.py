"""Control words: the pair that tells a reward which way taste points, and the library of pairs that ships."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field, model_validator

from comfy_nodes.header import caption

MEASURED_ON = "demo"  # the base whose pictures the shipped figures are about
WEAK = 0.8  # below this AUC a pair gives little direction to learn


class WordPair(BaseModel):
    """`positive` is what pictures should be more like, `negative` what they should be less like."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    positive: str = Field(min_length=1, max_length=200, description="What pictures should be more like.")
    negative: str = Field(min_length=1, max_length=200, description="What pictures should be less like.")
    weight: float = Field(
        default=1.0, gt=0, le=100, description="How often this pair is drawn, relative to the others."
    )
    learned: str = Field(default="", description="File of `palate words learn` that these words are read from.")

    @model_validator(mode="after")
    def _differ(self) -> WordPair:
        if " ".join(self.positive.casefold().split()) == " ".join(self.negative.casefold().split()):
            raise ValueError(
                f"both words are “{self.positive}”: the two must differ, or there is no direction to learn. "
                "Give the negative word something the picture should move away from."
            )
        return self

    def __str__(self) -> str:
        return f"{self.positive} / {self.negative}"


def positive_and_negative(prompts: Sequence[str], words: Sequence[WordPair]) -> list[list[str]]:
    """The two texts of each picture, [B][2]; one pair per prompt."""
    return [
        [caption(pair.positive, prompt), caption(pair.negative, prompt)]
        for prompt, pair in zip(prompts, words, strict=True)
    ]


class LibraryPair(BaseModel):
    """A pair of the shipped library. `separation`: reward name → AUC in 0..1, measured on the demo's own pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    positive: str
    negative: str
    note: str = ""
    separation: dict[str, float] = Field(default_factory=dict)

    def pair(self) -> WordPair:
        """The pair alone, as a recipe holds it."""
        return WordPair(positive=self.positive, negative=self.negative)


@cache
def library() -> tuple[LibraryPair, ...]:
    """The one library of word pairs, shared with the ComfyUI nodes."""
    content = json.loads((files("comfy_nodes") / "words.json").read_text(encoding="utf-8"))
    return tuple(LibraryPair(**entry) for entry in content["pairs"])


def measured_separation(pair: WordPair, reward: str, base: str = MEASURED_ON) -> float | None:
    """The shipped AUC of this pair under this reward on this base's pictures, or None where it was not measured."""
    for entry in library():
        if base == MEASURED_ON and (entry.positive, entry.negative) == (pair.positive, pair.negative):
            return entry.separation.get(reward)
    return None
