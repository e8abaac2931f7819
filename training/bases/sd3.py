"""Stable Diffusion 3 and 3.5: a joint transformer with two CLIP texts and T5, true guidance."""

from __future__ import annotations

from torch import Tensor

from training.bases._diffusers import BaseSettings, hub
from training.bases._lora_layers import JOINT_ATTENTION, JOINT_FEED_FORWARD, layers
from training.bases._pictures import FlowPictures
from training.contracts import Conditioning


class Sd3(FlowPictures):
    """Stable Diffusion 3.5 medium, large and 3.0 (diffusers StableDiffusion3Pipeline): velocity, 16 latent channels."""

    class Settings(BaseSettings):
        """Stable Diffusion 3 settings."""

        weights: str = hub("stabilityai/stable-diffusion-3.5-medium")

    pipeline = "StableDiffusion3Pipeline"
    spaced = False
    reader = "tokenizer_3"
    longest = 256
    lora_layers = layers(JOINT_ATTENTION, *JOINT_FEED_FORWARD)
    lora_family = ("sd3", "stable-diffusion-v3-medium", "sd3_v1")

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """CLIP's 77 states, then T5's [B, 77 + T, D], and both CLIPs' pooled states [B, D]."""
        states, _, pooled, _ = self.text.encode_prompt(
            prompts, None, None, do_classifier_free_guidance=False, max_sequence_length=self.max_tokens
        )
        return {"states": states, "pooled": pooled}

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity; guidance is applied by whoever calls."""
        dtype = self.network.dtype
        return self.network(
            hidden_states=x_t.to(dtype),
            timestep=timestep * self.pipe.scheduler.config.num_train_timesteps,
            encoder_hidden_states=conditioning["states"].to(dtype),
            pooled_projections=conditioning["pooled"].to(dtype),
            return_dict=False,
        )[0]
