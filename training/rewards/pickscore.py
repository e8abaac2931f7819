"""PickScore v1 (arXiv:2305.01569): a ViT-H/14 CLIP tuned on the choices of Pick-a-Pic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from training.rewards._dual_encoder import DualEncoder, DualEncoderSettings
from training.rewards._pictures import Preprocessing
from training.rewards._transformers import TransformersTowers, load_tokenizer

DIVISOR = {"logit": 1.0, "rl": 26.0, "srpo": 20.0}


class PickScore(DualEncoder):
    """PickScore v1 (transformers CLIP H/14): exp(logit_scale) times the cosine, about 18 to 24, or a share of it."""

    class Settings(DualEncoderSettings):
        """Settings of `pickscore`."""

        weights: str = Field(
            default="yuvalkirstain/PickScore_v1", description="Hub id or folder with config.json, model.safetensors."
        )
        tokenizer: str = Field(
            default="laion/CLIP-ViT-H-14-laion2B-s32B-b79K", description="Hub id or folder of the tokenizer."
        )
        scale: Literal["logit", "rl", "srpo"] = Field(
            default="logit", description="logit: as published; rl: divided by 26, as RL codes do; srpo: by 20."
        )

    def __init__(self, settings: Settings | None = None) -> None:
        """Load on the CPU, frozen. Raises UsageError when the weights are not there or not these."""
        chosen = settings or self.Settings()
        super().__init__(chosen.frames)
        tokenizer = load_tokenizer(chosen.tokenizer, CLIPTokenizer)
        self.towers = TransformersTowers("pickscore", CLIPModel, chosen.weights, tokenizer, chosen.torch_dtype)
        self.lay_over(chosen.tuned)
        self.prepare = Preprocessing(self.towers.size)
        self.factor = self.towers.scale / DIVISOR[chosen.scale]

    def image_features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] → [B, 1024]."""
        return self.towers.encode_images(self.prepare(images))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """[B, 1024]."""
        return self.towers.encode_texts(texts)

    def from_cosine(self, cosine: Tensor) -> Tensor:
        """exp(logit_scale) · cos, divided as `scale` says."""
        return self.factor * cosine
