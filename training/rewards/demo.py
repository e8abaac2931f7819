"""The demo world's reward: a small CLIP with a convolutional picture tower that tells style words apart."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import open_clip
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from training.rewards._dual_encoder import TUNED, DualEncoder
from training.rewards._pictures import Preprocessing


class DemoReward(DualEncoder):
    """Convolutional CLIP of the demo world (open_clip): the reward that is trained on."""

    class Settings(BaseModel):
        """Settings of `demo`."""

        model_config = ConfigDict(frozen=True, extra="forbid")
        tuned: str = Field(default="", description=TUNED)

    def __init__(self, settings: Settings | None = None) -> None:
        """Load the weights that ship with Palate, frozen. Raises UsageError when tuned ones are another reward's."""
        super().__init__()
        folder = Path(str(files("demo_world") / "weights" / "reward"))
        self.model: Any = open_clip.create_model(f"local-dir:{folder}", precision="fp32")
        self.tokenizer: Any = open_clip.get_tokenizer(f"local-dir:{folder}")
        self.eval().requires_grad_(False)
        self.lay_over((settings or self.Settings()).tuned)
        seen = self.model.visual.preprocess_cfg
        self.prepare = Preprocessing(int(self.model.visual.image_size), seen["mean"], seen["std"])

    def image_features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] → [B, D]."""
        return self.model.encode_image(self.prepare(images))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """[B, D]."""
        return self.model.encode_text(self.tokenizer(list(texts)).to(self.model.logit_scale.device))
