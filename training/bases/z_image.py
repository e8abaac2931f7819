"""Z-Image: one stream of picture and text, lists of samples, time that runs from noise to picture."""

from __future__ import annotations

import torch
from torch import Tensor

from training.bases._diffusers import BaseSettings, hub
from training.bases._lora_layers import ATTENTION, layers
from training.bases._pictures import FlowPictures, padded
from training.contracts import Conditioning


class ZImage(FlowPictures):
    """Z-Image and Z-Image-Turbo (diffusers ZImagePipeline): velocity, 16 latent channels, true guidance.

    Its pipeline's guidance_scale is the weight of the difference alone, that is ours minus one: 0 there and 1 here are
    a picture without guidance.
    """

    class Settings(BaseSettings):
        """Z-Image settings."""

        weights: str = hub("Tongyi-MAI/Z-Image")

    pipeline = "ZImagePipeline"
    lora_layers = layers(ATTENTION, "feed_forward.w1", "feed_forward.w2", "feed_forward.w3")
    lora_family = ("z_image", "z-image", "z_image")

    def as_read(self, prompt: str) -> str:
        """In the chat template, thinking on."""
        return self.text.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=True
        )

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """Qwen3 states [B, T, D] and which of them are text."""
        states, _ = self.text.encode_prompt(
            prompts, do_classifier_free_guidance=False, max_sequence_length=self.max_tokens
        )
        return padded(states, self.max_tokens)

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity: the network is fed 1 - sigma and says picture minus noise."""
        dtype = self.network.dtype
        texts = zip(conditioning["states"].to(dtype), conditioning["mask"], strict=True)
        output = self.network(
            x=list(x_t[:, :, None].to(dtype)),
            t=1 - timestep,
            cap_feats=[states[mask] for states, mask in texts],
            return_dict=False,
        )[0]
        return -torch.stack(output)[:, :, 0]
