"""FLUX.1: packed latents, CLIP and T5 text, guidance as an input of the network."""

from __future__ import annotations

import torch
from torch import Tensor

from training.bases._diffusers import BaseSettings, hub
from training.bases._lora_layers import JOINT_ATTENTION, JOINT_FEED_FORWARD, layers
from training.bases._packing import PATCH, image_ids, pack, unpack
from training.bases._pictures import FlowPictures
from training.contracts import Conditioning


class Flux(FlowPictures):
    """FLUX.1-dev and its kin (diffusers FluxPipeline): velocity, 16 latent channels, resolution-dependent shift."""

    class Settings(BaseSettings):
        """FLUX.1 settings."""

        weights: str = hub("black-forest-labs/FLUX.1-dev")

    pipeline = "FluxPipeline"
    reader = "tokenizer_2"
    lora_layers = layers(JOINT_ATTENTION, *JOINT_FEED_FORWARD, "proj_mlp", "proj_out")
    lora_family = ("flux", "flux-1-dev", "flux1")

    def __init__(self, settings: BaseSettings) -> None:
        """Load; FLUX.1-dev embeds its guidance, schnell knows none."""
        super().__init__(settings)
        self.guidance = "embedded" if self.network.config.guidance_embeds else "none"

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """T5 states [B, T, D] and CLIP's pooled state [B, D]."""
        states, pooled, _ = self.text.encode_prompt(prompts, max_sequence_length=self.max_tokens)
        return {"states": states, "pooled": pooled}

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity."""
        dtype, text = self.network.dtype, conditioning["states"]
        rows, columns = x_t.shape[-2] // PATCH, x_t.shape[-1] // PATCH
        guidance = torch.full((len(x_t),), guidance_scale, device=x_t.device) if self.guidance == "embedded" else None
        output = self.network(
            hidden_states=pack(x_t).to(dtype),
            timestep=timestep.to(dtype),
            guidance=guidance,
            encoder_hidden_states=text.to(dtype),
            pooled_projections=conditioning["pooled"].to(dtype),
            img_ids=image_ids(rows, columns, x_t.device),
            txt_ids=torch.zeros(text.shape[1], 3, device=x_t.device),
            return_dict=False,
        )[0]
        return unpack(output, rows, columns)
