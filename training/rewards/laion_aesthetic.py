"""LAION's aesthetic predictor v2: CLIP L/14 and a linear head trained on ratings of 1 to 10."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from transformers import CLIPModel, CLIPVisionModelWithProjection

from training import sources
from training.rewards._image_only import ImageOnly, load_head
from training.rewards._pictures import Preprocessing
from training.rewards._scorer import ScorerSettings
from training.rewards._transformers import COMPUTED, WEIGHTS, load_config

HEAD = "sac+logos+ava1-l14-linearMSE.pth"
TEXT_PART = ("text_model.", "text_projection.", "logit_scale")


class LaionAesthetic(ImageOnly):
    """LAION aesthetic predictor v2 (transformers CLIP L/14): how beautiful, 1 to 10; ignores text."""

    class Settings(ScorerSettings):
        """Settings of `laion_aesthetic`."""

        weights: str = Field(default="openai/clip-vit-large-patch14", description="Hub id or folder of the CLIP L/14.")
        head: str = Field(default="", description=f"The file {HEAD}, or its counterpart as .safetensors.")

    def __init__(self, settings: Settings | None = None) -> None:
        """Load on the CPU, frozen. Raises UsageError when the weights are not there or not these."""
        chosen = settings or self.Settings()
        config = load_config(chosen.weights, CLIPModel)
        head = load_head(
            chosen.head, config.projection_dim, prefix="layers.", numbers=(0, 2, 4, 6, 7),
            needed=f"Download {HEAD} of LAION's improved-aesthetic-predictor and give its path.",
        )  # fmt: skip
        vision = config.vision_config
        vision.projection_dim = config.projection_dim
        tower = sources.load(
            lambda: CLIPVisionModelWithProjection(vision), chosen.weights, WEIGHTS, unused=(*TEXT_PART, *COMPUTED)
        )
        super().__init__(tower, head, Preprocessing(vision.image_size), chosen.torch_dtype, chosen.frames)

    def features(self, pixels: Tensor) -> Tensor:
        """[B, 3, 224, 224] → [B, 768]."""
        return self.tower(pixel_values=pixels).image_embeds
