"""Stable Diffusion XL: a UNet with two CLIP texts, a pooled text and the picture's size as conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from diffusers import DDIMScheduler
from pydantic import Field
from torch import Tensor

from training.bases._diffusers import BaseSettings, DiffusersBase, ddpm_schedule
from training.contracts import Conditioning

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
REST = ["ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]


class Sdxl(DiffusersBase):
    """Stable Diffusion XL (diffusers StableDiffusionXLPipeline): noise or v, 4 latent channels."""

    class Settings(BaseSettings):
        """Stable Diffusion XL settings."""

        weights: str = Field(
            default="stabilityai/stable-diffusion-xl-base-1.0",
            description="Hub id (owner/name or owner/name@revision), diffusers folder, or checkpoint file.",
        )

    pipeline = "StableDiffusionXLPipeline"
    component = "unet"
    lora_layers: ClassVar[Mapping[str, Sequence[str]]] = {"attention": ATTENTION, "all": [*ATTENTION, *REST]}
    lora_family = ("sdxl", "stable-diffusion-xl-v1-base", "sdxl_base_v1-0")

    def __init__(self, settings: BaseSettings) -> None:
        """Load; what the network predicts stands in the scheduler's config."""
        super().__init__(settings)
        side = self.pipe.vae_scale_factor
        self.latent_shape = (self.network.config.in_channels, settings.height // side, settings.width // side)
        config = self.pipe.scheduler.config
        self.parametrisation = config.prediction_type
        self.schedule = ddpm_schedule(DDIMScheduler, config)

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """States of both encoders side by side [B, 77, D] and the second one's pooled state."""
        states, _, pooled, _ = self.text.encode_prompt(prompts, device=self.device, do_classifier_free_guidance=False)
        return {"states": states, "pooled": pooled}

    def encode_nothing(self) -> Conditioning:
        """Zeros where the pipeline's config says so: SDXL was trained with dropped text, not with an empty one."""
        empty = self.encode([""])
        if not self.pipe.config.force_zeros_for_empty_prompt:
            return empty
        return {name: torch.zeros_like(value) for name, value in empty.items()}

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """Noise or v; guidance is applied by whoever calls."""
        dtype = self.network.dtype
        size = (self.settings.height, self.settings.width)
        time_ids = torch.tensor([[*size, 0, 0, *size]], device=x_t.device, dtype=dtype).expand(len(x_t), -1)
        return self.network(
            x_t.to(dtype),
            timestep,
            encoder_hidden_states=conditioning["states"].to(dtype),
            added_cond_kwargs={"text_embeds": conditioning["pooled"].to(dtype), "time_ids": time_ids},
            return_dict=False,
        )[0]
