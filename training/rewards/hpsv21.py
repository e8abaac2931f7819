"""HPSv2.1 (arXiv:2306.09341): a ViT-H/14 CLIP tuned on human choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from training.rewards._dual_encoder import DualEncoder, DualEncoderSettings
from training.rewards._open_clip import OpenClipTowers, built_in
from training.rewards._pictures import Preprocessing

FILES = ("HPS_v2.1_compressed.pt", "HPS_v2.1_compressed.safetensors")
GEOMETRY: dict[str, Literal["pad", "crop"]] = {"official": "pad", "srpo": "crop"}


class Hpsv21(DualEncoder):
    """HPSv2.1 (open_clip ViT-H-14): cosine of picture and prompt, about 0.20 to 0.35; the reward of SRPO."""

    class Settings(DualEncoderSettings):
        """Settings of `hpsv21`."""

        weights: str = Field(
            default="xswu/HPSv2", description="Hub id, folder or file with HPS_v2.1_compressed (.pt or .safetensors)."
        )
        model: str = Field(default="ViT-H-14", description="open_clip's name of the architecture in that file.")
        preprocessing: Literal["official", "srpo"] = Field(
            default="official",
            description="official: longest side to 224, black borders; srpo: shortest side, centre crop. "
            "Equal for square pictures.",
        )

    def __init__(self, settings: Settings | None = None) -> None:
        """Load on the CPU, frozen. Raises UsageError when the weights are not there or not these."""
        chosen = settings or self.Settings()
        super().__init__(chosen.frames)
        self.towers = OpenClipTowers("hpsv21", built_in(chosen.model), chosen.weights, FILES, chosen.torch_dtype)
        self.lay_over(chosen.tuned)
        self.prepare = Preprocessing(self.towers.size, geometry=GEOMETRY[chosen.preprocessing])

    def image_features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] → [B, 1024]."""
        return self.towers.encode_images(self.prepare(images))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """[B, 1024]."""
        return self.towers.encode_texts(texts)
