"""What a bench asks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from toolkit.recipe_parts import Part

Point = Literal["wall", "samples"]
Figure = Literal["reward", "second", "judge", "hacked"]


class Question(Part):
    """compare: at the same budget; equal_reward: where the trained reward is the same; reach: how long to a level."""

    ask: str
    kind: Literal["compare", "equal_reward", "reach"]
    arms: tuple[str, ...] = Field(min_length=2, description="The others are held against the first.")
    figures: tuple[Figure, ...] = ("judge", "second", "reward", "hacked")
    at: Point = "wall"
    unit: Literal["updates", "seconds"] = "updates"
