"""How a reward that reads text becomes one score per picture."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from toolkit.words import positive_and_negative
from training.contracts import PromptBatch, Reward


class Preferring(BaseModel):
    """For methods that are not themselves about words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preference: Literal["relative", "positive", "plain"] = Field(
        default="relative",
        description="relative: positive minus negative word; positive: that word alone; plain: the prompt alone.",
    )

    def preference_target(self, reward: Reward, batch: PromptBatch) -> Any:
        """The target whose scores `preferred` reads."""
        if self.preference == "plain":
            return reward.target([[prompt] for prompt in batch.prompts])
        texts = positive_and_negative(batch.prompts, batch.words)
        return reward.target(texts if self.preference == "relative" else [pair[:1] for pair in texts])

    def preferred(self, scores: Tensor) -> Tensor:
        """Scores [B, T] → one per picture, [B]."""
        return scores[:, 0] - scores[:, 1] if self.preference == "relative" else scores[:, 0]
