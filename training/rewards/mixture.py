"""A weighted sum of other scorers, each brought to a common scale first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from torch import Tensor, nn

from toolkit.recipe import Section
from training.contracts import Reward
from training.rewards._scorer import Scorer

NAME_OR_SECTION = {"anyOf": [{"type": "string"}, {"type": "object", "required": ["name"]}]}


class Part(BaseModel):
    """One scorer of a mixture: weight · (score - mean) / std."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reward: Annotated[Section, WithJsonSchema(NAME_OR_SECTION)] = Field(
        description="A scorer's name, or its name with settings."
    )
    weight: float = Field(default=1.0, ge=-100, le=100, description="Share in the sum.")
    mean: float = Field(default=0.0, ge=-1e6, le=1e6, description="Subtracted first; no matter between two words.")
    std: float = Field(default=1.0, gt=0, le=1e6, description="Divided by: the spread of this scorer's scores.")


class Mixture(Scorer):
    """Weighted sum of other scorers, each with a fixed mean and spread: the same recipe, the same scores."""

    # What it can give at best: a recipe is checked against the parts, and needs a gradient from each of them.
    gives: ClassVar[frozenset[str]] = frozenset({"differentiable", "text_conditioned"})

    class Settings(BaseModel):
        """Settings of `mixture`."""

        model_config = ConfigDict(frozen=True, extra="forbid")
        parts: tuple[Part, ...] = Field(
            default=(
                Part(reward=Section(name="hpsv21"), mean=0.28, std=0.03),
                Part(reward=Section(name="pickscore"), mean=22.0, std=1.3),
            ),
            min_length=1,
            description="Scorers with weight, mean and std. The default's means and spreads are rough: measure yours.",
        )

        def sections(self) -> list[Section]:
            """The scorers it is made of: whoever builds a mixture builds these first."""
            return [part.reward for part in self.parts]

    def __init__(self, settings: Settings, rewards: Sequence[Reward]) -> None:
        """rewards: the built parts, in the order of the settings."""
        super().__init__()
        self._rewards = list(rewards)
        self._parts = settings.parts
        self.with_weights = nn.ModuleList(reward for reward in rewards if isinstance(reward, nn.Module))

    def target(self, texts: Sequence[Sequence[str]]) -> list[Any]:
        """Each part's own target."""
        return [reward.target(texts) for reward in self._rewards]

    def score(self, images: Tensor, target: list[Any]) -> Tensor:
        """Float32 [B, T] of pictures or videos; each part looks at them in its own way."""
        scores = [
            part.weight * (reward.score(images, wanted) - part.mean) / part.std
            for part, reward, wanted in zip(self._parts, self._rewards, target, strict=True)
        ]
        self.frames_scored = max(getattr(reward, "frames_scored", 1) for reward in self._rewards)
        return torch.stack(scores).sum(dim=0)
