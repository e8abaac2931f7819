"""Wan 2.1: text to video by flow matching, UMT5 text, a causal VAE with its own mean and spread per channel."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from toolkit.errors import UsageError
from training.bases._diffusers import BaseSettings, flow_schedule, hub
from training.bases._lora_layers import ATTENTION, layers
from training.bases._video import VideoBase, VideoSettings
from training.contracts import Conditioning


class Wan(VideoBase):
    """Wan 2.1 text-to-video, 1.3B and 14B (diffusers WanPipeline): velocity, 16 latent channels, true guidance."""

    class Settings(VideoSettings, BaseSettings):
        """Wan 2.1 settings."""

        weights: str = hub("Wan-AI/Wan2.1-T2V-1.3B-Diffusers")

    pipeline = "WanPipeline"
    frames_per_second = 16
    lora_layers = layers(ATTENTION, "ffn.net.0.proj", "ffn.net.2")
    lora_family = ("wan", "wan2.1", "wan2.1")

    def __init__(self, settings: VideoSettings) -> None:
        """Load; the default scheduler's shift is walked with Euler steps. Raises UsageError for Wan 2.2."""
        super().__init__(settings)
        if self.pipe.config.boundary_ratio is not None or self.pipe.config.expand_timesteps:
            raise UsageError(
                f"`{self.lora_facts.base_name}` is a Wan 2.2, which has two networks or one timestep per frame.",
                action="Use a Wan 2.1 text-to-video model as `base.weights`.",
            )
        config = self.pipe.scheduler.config
        shift = config.get("flow_shift", config.get("shift", 1.0))
        self.schedule = flow_schedule(FlowMatchEulerDiscreteScheduler(shift=shift), spaced=False)

    def enable_gradient_checkpointing(self) -> None:
        """The network's; the VAE knows none, so `run_decoder` brings it."""
        self.network.enable_gradient_checkpointing()

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """UMT5 states [B, T, D], zero after the prompt's end."""
        states, _ = self.text.encode_prompt(
            prompts, do_classifier_free_guidance=False, max_sequence_length=self.max_tokens
        )
        return {"states": states}

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity; the network counts time in thousandths."""
        dtype = self.network.dtype
        states = conditioning["states"].to(dtype)
        return self.network(x_t.to(dtype), 1000 * timestep, encoder_hidden_states=states, return_dict=False)[0]

    def run_decoder(self, latents: Tensor) -> Tensor:
        """[B, 3, F, H, W] in [-1, 1]; with gradient checkpointing, activations of one latent frame at a time."""
        if torch.is_grad_enabled() and self.settings.gradient_checkpointing:
            return decode_frame_by_frame(self.vae, latents)
        return super().run_decoder(latents)

    def scale(self, latents: Tensor) -> Tensor:
        """The VAE's latents to the network's."""
        mean, std = self._statistics(latents)
        return (latents - mean) / std

    def unscale(self, latents: Tensor) -> Tensor:
        """Inverse of `scale`."""
        mean, std = self._statistics(latents)
        return latents * std + mean

    def _statistics(self, like: Tensor) -> Tensor:
        config = self.vae.config
        return torch.tensor([config.latents_mean, config.latents_std], device=like.device)[:, None, :, None, None, None]


def decode_frame_by_frame(vae: Any, latents: Tensor) -> Tensor:
    """What `vae.decode` gives, with every latent frame's activations computed again in the backward pass.

    The causal convolutions hand their last inputs on from frame to frame; each step gets its own copy of that list,
    so that the second computation sees what the first one saw.
    """

    def step(latent: Tensor, cache: list[Any], first: bool) -> tuple[Tensor, list[Any]]:
        cache = list(cache)
        return vae.decoder(latent, feat_cache=cache, feat_idx=[0], first_chunk=first), cache

    vae.clear_cache()
    cache, frames = vae._feat_map, []
    for number, latent in enumerate(vae.post_quant_conv(latents).split(1, dim=2)):
        pixels, cache = checkpoint(step, latent, cache, number == 0, use_reentrant=False)
        frames.append(pixels)
    return torch.cat(frames, dim=2).clamp(-1, 1)
