"""CLIP score (arXiv:2104.08718) with any CLIP of transformers or open_clip."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from toolkit.errors import UsageError
from training import sources
from training.rewards._dual_encoder import DualEncoder, DualEncoderSettings
from training.rewards._open_clip import OpenClipTowers
from training.rewards._pictures import CLIP_MEAN, CLIP_STD, Preprocessing
from training.rewards._transformers import TransformersTowers, load_tokenizer

PREFIX = "A photo depicts "
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
GEOMETRY: dict[str, Literal["crop", "pad", "stretch"]] = {"shortest": "crop", "longest": "pad", "squash": "stretch"}


class Clip(DualEncoder):
    """CLIP score (transformers or open_clip): how well picture and prompt match, in one of three published forms."""

    class Settings(DualEncoderSettings):
        """Settings of `clip`."""

        weights: str = Field(
            default="openai/clip-vit-large-patch14", description="Hub id or folder of the model in `library`'s layout."
        )
        library: Literal["transformers", "open_clip"] = Field(
            default="transformers", description="Whose layout: config.json, or open_clip_config.json."
        )
        variant: Literal["cosine", "hessel", "percent"] = Field(
            default="cosine",
            description='cosine; hessel: 2.5 max(cos, 0) with "A photo depicts" before the prompt; '
            "percent: 100 max(cos, 0). The last two have no gradient below 0.",
        )

    def __init__(self, settings: Settings | None = None) -> None:
        """Load on the CPU, frozen. Raises UsageError when the weights are not there or not these."""
        chosen = settings or self.Settings()
        super().__init__(chosen.frames)
        self.variant = chosen.variant
        load = _with_transformers if chosen.library == "transformers" else _with_open_clip
        self.towers, self.prepare = load(chosen.weights, chosen.torch_dtype)
        self.lay_over(chosen.tuned)

    def image_features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] → [B, D]."""
        return self.towers.encode_images(self.prepare(images))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """[B, D]."""
        return self.towers.encode_texts([PREFIX + text for text in texts] if self.variant == "hessel" else texts)

    def from_cosine(self, cosine: Tensor) -> Tensor:
        """The score as `variant` names it."""
        if self.variant == "cosine":
            return cosine
        return (2.5 if self.variant == "hessel" else 100.0) * cosine.clamp(min=0)


def _with_transformers(source: str, dtype: torch.dtype) -> tuple[Any, Preprocessing]:
    towers = TransformersTowers("clip", CLIPModel, source, load_tokenizer(source, CLIPTokenizer), dtype)
    return towers, Preprocessing(towers.size)


def _with_open_clip(source: str, dtype: torch.dtype) -> tuple[Any, Preprocessing]:
    described = sources.locate(source, "open_clip_config.json")
    try:
        config = json.loads(described.read_text(encoding="utf-8"))
        model, seen = config["model_cfg"], config.get("preprocess_cfg", {})
    except (ValueError, KeyError):
        raise UsageError(f"`{described.name}` does not describe an open_clip model.") from None
    towers = OpenClipTowers("clip", model, source, OPEN_CLIP_FILES, dtype)
    mean, std = seen.get("mean", CLIP_MEAN), seen.get("std", CLIP_STD)
    geometry, smoothing = GEOMETRY[seen.get("resize_mode", "shortest")], seen.get("interpolation", "bicubic")
    return towers, Preprocessing(towers.size, mean, std, geometry, smoothing)
