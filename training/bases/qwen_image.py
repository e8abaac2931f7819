"""Qwen-Image: packed latents with statistics per channel, text of any length, true guidance that keeps its norm."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from training.bases._diffusers import BaseSettings, hub
from training.bases._lora_layers import ATTENTION, in_blocks, layers
from training.bases._packing import PATCH, pack, unpack
from training.bases._pictures import FlowPictures, padded
from training.contracts import Conditioning


class QwenImage(FlowPictures):
    """Qwen-Image (diffusers QwenImagePipeline): velocity, 16 latent channels of a video VAE's single frame."""

    class Settings(BaseSettings):
        """Qwen-Image settings."""

        weights: str = hub("Qwen/Qwen-Image")

    pipeline = "QwenImagePipeline"
    lora_family = ("qwen_image", "qwen-image", "qwen_image")

    def __init__(self, settings: BaseSettings) -> None:
        """Load; nothing reads the text that comes out of the last block, so that a LoRA there would stay at zero."""
        super().__init__(settings)
        read = partial(in_blocks, "transformer_blocks", self.network.config.num_layers - 1)
        attention = [*ATTENTION, "add_k_proj", "add_v_proj", *read("attn.add_q_proj", "attn.to_add_out")]
        feed_forward = ["img_mlp.net.0.proj", "img_mlp.net.2", *read("txt_mlp.net.0.proj", "txt_mlp.net.2")]
        self.lora_layers = layers(attention, *feed_forward)

    @property
    def latent_channels(self) -> int:
        """Channels of the VAE's latents."""
        return self.vae.config.z_dim

    def as_read(self, prompt: str) -> str:
        """With the end of the chat template; its beginning is read, but not handed on."""
        return prompt + self.text.prompt_template_encode.partition("{}")[2]

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """Qwen2.5-VL states [B, T, D] and which of them are text."""
        states, mask = self.text.encode_prompt(prompts, max_sequence_length=self.max_tokens)
        texts = states if mask is None else [row[kept.bool()] for row, kept in zip(states, mask, strict=True)]
        return padded(list(texts), self.max_tokens)

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity; the texts' common padding is cut off again, and guidance is applied by whoever calls."""
        dtype, read = self.network.dtype, conditioning["mask"].any(dim=0)
        mask = conditioning["mask"][:, read]
        rows, columns = x_t.shape[-2] // PATCH, x_t.shape[-1] // PATCH
        output = self.network(
            hidden_states=pack(x_t).to(dtype),
            timestep=timestep.to(dtype),
            encoder_hidden_states=conditioning["states"][:, read].to(dtype),
            encoder_hidden_states_mask=None if mask.all() else mask,
            img_shapes=[[(1, rows, columns)]] * len(x_t),
            return_dict=False,
        )[0]
        return unpack(output, rows, columns)

    def guide(self, with_text: Tensor, without: Tensor, guidance_scale: float) -> Tensor:
        """Classifier-free guidance, every token rescaled to the norm that it has with text alone."""
        wanted, mixed = pack(with_text), pack(super().guide(with_text, without, guidance_scale))
        rescaled = mixed * (wanted.norm(dim=-1, keepdim=True) / mixed.norm(dim=-1, keepdim=True))
        return unpack(rescaled, with_text.shape[-2] // PATCH, with_text.shape[-1] // PATCH)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1], with gradient.

        A single frame needs no cache between frames; without it, the decoder's blocks can be recomputed.
        """
        frames = self.unscale(latents)[:, :, None].to(self.vae.dtype)
        decoded = self.vae.decoder(self.vae.post_quant_conv(frames))[:, :, 0]
        return (decoded.float() / 2 + 0.5).clamp(0, 1)

    def encode_images(self, images: Tensor) -> Tensor:
        """Latents of pictures in [0, 1]: the mean of the posterior."""
        return super().encode_images(images[:, :, None])

    def scale(self, latents: Tensor) -> Tensor:
        """The VAE's one frame [B, C, 1, h, w] to the network's latents [B, C, h, w]."""
        mean, std = self._statistics(latents)
        return (latents[:, :, 0] - mean) / std

    def unscale(self, latents: Tensor) -> Tensor:
        """Inverse of `scale`, without the frame's axis."""
        mean, std = self._statistics(latents)
        return latents * std + mean

    def _statistics(self, like: Tensor) -> tuple[Tensor, ...]:
        config = self.vae.config
        return tuple(torch.tensor(x).to(like)[:, None, None] for x in (config.latents_mean, config.latents_std))
