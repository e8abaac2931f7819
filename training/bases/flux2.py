"""FLUX.2 [klein]: patchified latents with batch-norm statistics, Qwen3 text, true guidance unless distilled."""

from __future__ import annotations

from functools import partial

import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch import Tensor
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle

from training.bases._diffusers import BaseSettings, flow_schedule, hub
from training.bases._lora_layers import JOINT_ATTENTION, in_blocks, layers
from training.bases._packing import PATCH, as_latents, as_tokens, image_ids
from training.bases._pictures import Pictures
from training.contracts import Conditioning


class Flux2(Pictures):
    """FLUX.2 [klein] 4B and 9B (diffusers Flux2KleinPipeline): velocity, 32 latent channels in patches of 2 x 2."""

    class Settings(BaseSettings):
        """FLUX.2 [klein] settings."""

        weights: str = hub("black-forest-labs/FLUX.2-klein-base-4B")

    pipeline = "Flux2KleinPipeline"
    lora_family = ("flux2", "flux-2-klein", "flux2_klein")

    def __init__(self, settings: BaseSettings) -> None:
        """Load; the shift depends on the number of steps too, and a distilled [klein] knows no guidance."""
        super().__init__(settings)
        channels, rows, columns = self.latent_shape
        self.latent_shape = (channels * PATCH**2, rows // PATCH, columns // PATCH)
        tokens = self.latent_shape[1] * self.latent_shape[2]
        self.schedule = flow_schedule(self.pipe.scheduler, partial(compute_empirical_mu, tokens))
        single = in_blocks("single_transformer_blocks", self.network.config.num_single_layers, "attn.to_out")
        attention = [*JOINT_ATTENTION, "to_qkv_mlp_proj", *single]
        feed_forward = [f"{side}.linear_{end}" for side in ("ff", "ff_context") for end in ("in", "out")]
        self.lora_layers = layers(attention, *feed_forward)
        self.guidance = "none" if self.pipe.config.is_distilled else "true"

    def as_read(self, prompt: str) -> str:
        """In the chat template, thinking off."""
        return self.text.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """Qwen3 states of three depths side by side [B, T, D]; padding is read as it was in training."""
        states, _ = self.text.encode_prompt(prompts, max_sequence_length=self.max_tokens)
        return {"states": states}

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity; guidance is applied by whoever calls. Positions have four axes: time, row, column, word."""
        dtype, text = self.network.dtype, conditioning["states"]
        rows, columns = x_t.shape[-2:]
        words = torch.arange(text.shape[1], device=x_t.device)[:, None]
        output = self.network(
            hidden_states=as_tokens(x_t).to(dtype),
            timestep=timestep.to(dtype),
            encoder_hidden_states=text.to(dtype),
            img_ids=pad(image_ids(rows, columns, x_t.device), (0, 1)),
            txt_ids=pad(words, (3, 0)),
            return_dict=False,
        )[0]
        return as_latents(output, rows, columns)

    def scale(self, latents: Tensor) -> Tensor:
        """Patches of 2 x 2, then the VAE's batch-norm statistics."""
        mean, std = self._statistics(latents)
        return (pixel_unshuffle(latents, PATCH) - mean) / std

    def unscale(self, latents: Tensor) -> Tensor:
        """Inverse of `scale`."""
        mean, std = self._statistics(latents)
        return pixel_shuffle(latents * std + mean, PATCH)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        norm = self.vae.bn
        mean, variance = norm.running_mean.to(like), norm.running_var.to(like)
        return mean[:, None, None], (variance + self.vae.config.batch_norm_eps).sqrt()[:, None, None]
