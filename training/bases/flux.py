"""FLUX.1: packed latents, CLIP and T5 text, guidance as an input of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from training.bases._diffusers import BaseSettings, DiffusersBase, flow_schedule, resolution_shift
from training.bases._packing import PATCH, image_ids, pack, unpack
from training.contracts import Conditioning

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
MLP = ["ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp", "proj_out"]


class Flux(DiffusersBase):
    """FLUX.1-dev and its kin (diffusers FluxPipeline): velocity, 16 latent channels, resolution-dependent shift."""

    class Settings(BaseSettings):
        """FLUX.1 settings."""

        weights: str = Field(
            default="black-forest-labs/FLUX.1-dev",
            description="Hub id (owner/name or owner/name@revision), diffusers folder, or checkpoint file.",
        )

    pipeline = "FluxPipeline"
    lora_layers: ClassVar[Mapping[str, Sequence[str]]] = {"attention": ATTENTION, "all": [*ATTENTION, *MLP]}
    lora_family = ("flux", "flux-1-dev", "flux1")

    def __init__(self, settings: BaseSettings) -> None:
        """Load; FLUX.1-dev embeds its guidance, schnell knows none."""
        super().__init__(settings)
        self.guidance = "embedded" if self.network.config.guidance_embeds else "none"
        side = self.pipe.vae_scale_factor
        self.latent_shape = (
            self.network.config.in_channels // PATCH**2,
            settings.height // side,
            settings.width // side,
        )
        tokens = self.latent_shape[1] * self.latent_shape[2] // PATCH**2
        self.schedule = flow_schedule(self.pipe.scheduler, resolution_shift(self.pipe.scheduler.config, tokens))

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """T5 states [B, T, D] and CLIP's pooled state [B, D]."""
        states, pooled, _ = self.text.encode_prompt(prompts, max_sequence_length=self.settings.max_tokens or 512)
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
