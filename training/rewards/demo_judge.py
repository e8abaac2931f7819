"""The demo world's judge: a style classifier for the final report. Held out: no method, guard or choice may use it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import RegNetForImageClassification

from training.rewards._pictures import HALF, Preprocessing
from training.rewards._scorer import Scorer

PREPARE = Preprocessing(64, HALF, HALF)


class DemoJudge(Scorer):
    """Style classifier of the demo world (transformers): is the picture in the style that a text begins with?"""

    differentiable: ClassVar[bool] = False
    gives: ClassVar[frozenset[str]] = frozenset()
    held_out: ClassVar[bool] = True

    def __init__(self) -> None:
        """Load the weights that ship with Palate, frozen."""
        super().__init__()
        folder = Path(str(files("demo_world") / "weights" / "judge"))
        self.model: Any = RegNetForImageClassification.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32
        )
        self.eval().requires_grad_(False)

    def target(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """The style each text begins with as a class index, -1 where it names none; [B, T]."""
        return torch.tensor([[self._style(text) for text in row] for row in texts])

    @torch.no_grad()
    def score_pictures(self, images: Tensor, target: Tensor) -> Tensor:
        """[B, T]: 1 where the picture's most likely style is the target's; NaN where the text named no style."""
        logits = self.model(PREPARE(images)).logits
        hit = (logits.argmax(dim=1)[:, None] == target.to(logits.device)).float()
        return hit.masked_fill(target.to(logits.device) < 0, float("nan"))

    def _style(self, text: str) -> int:
        known = self.model.config.label2id or {}
        return next((number for style, number in known.items() if text.startswith(style)), -1)
