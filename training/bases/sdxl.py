"""Stable Diffusion XL: a UNet with two CLIP texts, a pooled text and the picture's size as conditions."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from training.bases._diffusers import SharedSettings, hub
from training.bases._lora_layers import ATTENTION, FEED_FORWARD, layers
from training.bases._pictures import DdpmPictures
from training.contracts import Conditioning


class Sdxl(DdpmPictures):
    """Stable Diffusion XL (diffusers StableDiffusionXLPipeline): noise or v, 4 latent channels."""

    class Settings(SharedSettings):
        """Stable Diffusion XL settings."""

        weights: str = hub("stabilityai/stable-diffusion-xl-base-1.0")
        width: int = Field(default=1024, ge=16, le=4096, multiple_of=8, description="Picture width in pixels.")
        height: int = Field(default=1024, ge=16, le=4096, multiple_of=8, description="Picture height in pixels.")

    pipeline = "StableDiffusionXLPipeline"
    component = "unet"
    longest = 77
    lora_layers = layers(ATTENTION, *FEED_FORWARD, "proj_in", "proj_out")
    lora_family = ("sdxl", "stable-diffusion-xl-v1-base", "sdxl_base_v1-0")

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
