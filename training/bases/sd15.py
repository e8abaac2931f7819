"""Stable Diffusion 1.5: a UNet that predicts noise, CLIP text, true guidance."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from training.bases._diffusers import SharedSettings, hub
from training.bases._lora_layers import ATTENTION, FEED_FORWARD, layers
from training.bases._pictures import DdpmPictures
from training.contracts import Conditioning


class Sd15(DdpmPictures):
    """Stable Diffusion 1.x and 2.x (diffusers StableDiffusionPipeline): noise or v, 4 latent channels."""

    class Settings(SharedSettings):
        """Stable Diffusion 1.5 settings."""

        weights: str = hub("stable-diffusion-v1-5/stable-diffusion-v1-5")
        width: int = Field(default=512, ge=16, le=2048, multiple_of=8, description="Picture width in pixels.")
        height: int = Field(default=512, ge=16, le=2048, multiple_of=8, description="Picture height in pixels.")

    pipeline = "StableDiffusionPipeline"
    component = "unet"
    longest = 77
    lora_layers = layers(ATTENTION, *FEED_FORWARD, "proj_in", "proj_out")
    lora_family = ("sd15", "stable-diffusion-v1", "sd_v1")

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """CLIP states [B, 77, D]."""
        states, _ = self.text.encode_prompt(prompts, self.device, 1, do_classifier_free_guidance=False)
        return {"states": states}

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """Noise or v; guidance is applied by whoever calls."""
        dtype = self.network.dtype
        states = conditioning["states"].to(dtype)
        return self.network(x_t.to(dtype), timestep, encoder_hidden_states=states, return_dict=False)[0]
