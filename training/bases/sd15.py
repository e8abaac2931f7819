"""Stable Diffusion 1.5: a UNet that predicts noise, CLIP text, true guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from diffusers import DDIMScheduler
from pydantic import Field
from torch import Tensor

from training.bases._diffusers import BaseSettings, DiffusersBase, ddpm_schedule
from training.contracts import Conditioning

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
REST = ["ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]


class Sd15(DiffusersBase):
    """Stable Diffusion 1.x and 2.x (diffusers StableDiffusionPipeline): noise or v, 4 latent channels."""

    class Settings(BaseSettings):
        """Stable Diffusion 1.5 settings."""

        weights: str = Field(
            default="stable-diffusion-v1-5/stable-diffusion-v1-5",
            description="Hub id (owner/name or owner/name@revision), diffusers folder, or checkpoint file.",
        )
        width: int = Field(default=512, ge=16, le=2048, description="Picture width in pixels.")
        height: int = Field(default=512, ge=16, le=2048, description="Picture height in pixels.")

    pipeline = "StableDiffusionPipeline"
    component = "unet"
    lora_layers: ClassVar[Mapping[str, Sequence[str]]] = {"attention": ATTENTION, "all": [*ATTENTION, *REST]}
    lora_family = ("sd15", "stable-diffusion-v1", "sd_v1")

    def __init__(self, settings: BaseSettings) -> None:
        """Load; what the network predicts stands in the scheduler's config."""
        super().__init__(settings)
        side = self.pipe.vae_scale_factor
        self.latent_shape = (self.network.config.in_channels, settings.height // side, settings.width // side)
        config = self.pipe.scheduler.config
        self.parametrisation = config.prediction_type
        self.schedule = ddpm_schedule(DDIMScheduler, config)

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """CLIP states [B, 77, D]."""
        states, _ = self.text.encode_prompt(prompts, self.device, 1, do_classifier_free_guidance=False)
        return {"states": states}

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """Noise or v; guidance is applied by whoever calls."""
        dtype = self.network.dtype
        states = conditioning["states"].to(dtype)
        return self.network(x_t.to(dtype), timestep, encoder_hidden_states=states, return_dict=False)[0]
