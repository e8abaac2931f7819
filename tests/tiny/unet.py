"""A base as unlike the demo's as Stable Diffusion is unlike FLUX: a UNet, noise or v, integer timesteps.

Every part is a real class of diffusers with tiny random weights. It exists so that no method, sampler or adapter can
quietly assume flow matching, packed tokens or a transformer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from training.contracts import Conditioning, LoraFacts
from training.schedules import DdpmSchedule

TOKENS, WIDTH = 8, 16
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


class TinyUnet:
    """Noise prediction on 4 x 8 x 8 latents, pictures of 16 x 16."""

    gives: ClassVar[frozenset[str]] = frozenset({"text_to_image"})
    parametrisation: Literal["epsilon", "v_prediction"] = "epsilon"
    guidance: ClassVar[Literal["true"]] = "true"
    text_id: ClassVar[str] = ""
    latents_id: ClassVar[str] = ""
    frames_per_second: ClassVar[int] = 0
    frames: ClassVar[int] = 0
    lora_layers: ClassVar[dict[str, list[str]]] = {
        "attention": ATTENTION,
        "all": [*ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2"],
    }
    lora_facts: ClassVar[LoraFacts] = LoraFacts("tiny-unet", "unet", "tiny-unet", "tiny_unet", "tiny/unet", (16, 16))
    latent_shape = (4, 8, 8)

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = UNet2DConditionModel(
                sample_size=8,
                in_channels=4,
                out_channels=4,
                block_out_channels=(8, 16),
                layers_per_block=1,
                norm_num_groups=4,
                attention_head_dim=4,
                cross_attention_dim=WIDTH,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            )
            self.vae = AutoencoderKL(
                block_out_channels=(8, 16),
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                latent_channels=4,
                norm_num_groups=4,
                sample_size=16,
            )
            self.letters = nn.Embedding(256, WIDTH)
        for part in (self.network, self.vae, self.letters):
            part.eval().requires_grad_(False)
        scheduler = DDPMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=self.parametrisation
        )
        self.schedule = DdpmSchedule(scheduler.alphas_cumprod)

    def to(self, device: torch.device) -> TinyUnet:
        for part in (self.network, self.vae, self.letters):
            part.to(device)
        return self

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        rows = [list(prompt.encode()[:TOKENS].ljust(TOKENS)) for prompt in prompts]
        return {"states": self.letters(torch.tensor(rows, device=self.letters.weight.device))}

    def release_text(self) -> None:
        pass

    def encode_nothing(self) -> Conditioning:
        return self.encode([""])

    def guide(self, with_text: Tensor, without: Tensor, guidance_scale: float) -> Tensor:
        return without + guidance_scale * (with_text - without)

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        return self.network(x_t, timestep, encoder_hidden_states=conditioning["states"], return_dict=False)[0]

    def decode(self, latents: Tensor) -> Tensor:
        return (self.vae.decode(latents, return_dict=False)[0] / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        return self.vae.encode(images * 2 - 1, return_dict=False)[0].mode()


class TinyUnetV(TinyUnet):
    """The same network, its output read as v = alpha noise - sigma x0."""

    parametrisation = "v_prediction"
