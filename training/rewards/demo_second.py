"""The demo world's second reward: another tower, another seed, another loss. It chooses checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from training.rewards._dual_encoder import DualEncoder
from training.rewards._pictures import HALF, Preprocessing


class DemoSecond(DualEncoder):
    """Vision-transformer CLIP of the demo world (transformers): chooses checkpoints and shows reward hacking."""

    def __init__(self) -> None:
        """Load the weights that ship with Palate, frozen."""
        super().__init__()
        folder = Path(str(files("demo_world") / "weights" / "second_reward"))
        self.model: Any = CLIPModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self.eval().requires_grad_(False)
        self.prepare = Preprocessing(self.model.config.vision_config.image_size, HALF, HALF)

    def image_features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] → [B, D]."""
        return self.model.get_image_features(pixel_values=self.prepare(images)).pooler_output

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """[B, D]."""
        length = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids
        return self.model.get_text_features(tokens.to(self.model.device)).pooler_output
