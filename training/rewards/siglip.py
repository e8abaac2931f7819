"""SigLIP (arXiv:2303.15343) and SigLIP 2 (arXiv:2502.14786) at a fixed resolution: the logit of a match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor
from transformers import PreTrainedTokenizerFast, SiglipModel

from training.rewards._dual_encoder import DualEncoder, DualEncoderSettings
from training.rewards._pictures import HALF, Preprocessing
from training.rewards._transformers import TransformersTowers, load_tokenizer


class Siglip(DualEncoder):
    """SigLIP or fixed-size SigLIP 2 (transformers): the logit that picture and prompt match, scale · cos + bias."""

    class Settings(DualEncoderSettings):
        """Settings of `siglip`."""

        weights: str = Field(
            default="google/siglip-so400m-patch14-384",
            description="Hub id or folder with config.json, model.safetensors and tokenizer.json.",
        )
        interpolation: Literal["bicubic", "bilinear"] = Field(
            default="bicubic", description="Resizing: bicubic for SigLIP, bilinear for SigLIP 2."
        )

    def __init__(self, settings: Settings | None = None) -> None:
        """Load on the CPU, frozen. Raises UsageError when the weights are not there or not these."""
        chosen = settings or self.Settings()
        super().__init__(chosen.frames)
        tokenizer = load_tokenizer(chosen.weights, PreTrainedTokenizerFast)
        self.towers = TransformersTowers("siglip", SiglipModel, chosen.weights, tokenizer, chosen.torch_dtype)
        self.lay_over(chosen.tuned)
        self.prepare = Preprocessing(
            self.towers.size, HALF, HALF, geometry="stretch", interpolation=chosen.interpolation
        )

    def image_features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] → [B, D]."""
        return self.towers.encode_images(self.prepare(images))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """[B, D]; both generations were trained on lower-case text."""
        return self.towers.encode_texts([text.lower() for text in texts])

    def from_cosine(self, cosine: Tensor) -> Tensor:
        """exp(logit_scale) · cos + logit_bias."""
        return self.towers.scale * cosine + self.towers.bias
