"""Aesthetic predictor v2.5: SigLIP so400m and a linear head. The head is AGPL-3.0, so the user brings its file."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from transformers import SiglipModel, SiglipVisionModel

from training import sources
from training.rewards._image_only import ImageOnly, load_head
from training.rewards._pictures import HALF, Preprocessing
from training.rewards._scorer import ScorerSettings
from training.rewards._transformers import WEIGHTS, load_config

HEAD = "aesthetic_predictor_v2_5.pth"
TEXT_PART = ("text_model.", "logit_scale", "logit_bias")


class AestheticV25(ImageOnly):
    """Aesthetic predictor v2.5 (transformers SigLIP so400m): how beautiful, 1 to 10, 5.5 is good; ignores text."""

    class Settings(ScorerSettings):
        """Settings of `aesthetic_v25`."""

        weights: str = Field(
            default="google/siglip-so400m-patch14-384", description="Hub id or folder of the SigLIP so400m at 384."
        )
        head: str = Field(default="", description=f"The file {HEAD} (AGPL-3.0), or its counterpart as .safetensors.")

    def __init__(self, settings: Settings | None = None) -> None:
        """Load on the CPU, frozen. Raises UsageError when the weights are not there or not these."""
        chosen = settings or self.Settings()
        vision = load_config(chosen.weights, SiglipModel).vision_config
        head = load_head(
            chosen.head, vision.hidden_size, prefix="scoring_head.", numbers=(0, 2, 4, 6, 8),
            needed=f"Download {HEAD} from the project aesthetic-predictor-v2-5 and give its path.",
        )  # fmt: skip
        tower = sources.load(
            lambda: SiglipVisionModel(vision), chosen.weights, WEIGHTS, prefix="vision_model.", unused=TEXT_PART
        )
        prepare = Preprocessing(vision.image_size, HALF, HALF, geometry="stretch")
        super().__init__(tower, head, prepare, chosen.torch_dtype, chosen.frames)

    def features(self, pixels: Tensor) -> Tensor:
        """[B, 3, 384, 384] → [B, 1152]."""
        return self.tower(pixel_values=pixels).pooler_output
