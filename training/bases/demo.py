"""The embedded base: a small FLUX-class transformer with its own VAE and text encoder, trained on emoji."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from toolkit.errors import UsageError
from training.bases._packing import PATCH, image_ids, pack, unpack
from training.contracts import Conditioning, LoraFacts
from training.schedules import FlowSchedule


class Demo:
    """The embedded FLUX-class model at 64 x 64: packed latents, rope ids, pooled text, true guidance."""

    class Settings(BaseModel):
        """The demo base's settings."""

        model_config = ConfigDict(frozen=True, extra="forbid")
        weights: str = Field(
            default="", description="Folder of weights in diffusers layout; empty: the ones that ship."
        )

    gives: ClassVar[frozenset[str]] = frozenset({"text_to_image"})
    parametrisation: ClassVar[Literal["velocity"]] = "velocity"
    guidance: ClassVar[Literal["true"]] = "true"
    text_id: ClassVar[str] = ""
    latents_id: ClassVar[str] = ""
    frames_per_second: ClassVar[int] = 0
    frames: ClassVar[int] = 0
    lora_layers: ClassVar[dict[str, list[str]]] = {
        "attention": ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"],
        "all": [
            "to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out",
            "ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp", "proj_out",
        ],
    }  # fmt: skip
    lora_facts: ClassVar[LoraFacts] = LoraFacts(
        family="palate-demo",
        component="transformer",
        architecture="palate-demo",
        base_model_version="palate_demo",
        base_name="palate/demo-world",
        resolution=(64, 64),
    )

    def __init__(self, settings: Settings | None = None) -> None:
        """Load all parts in float32 on the CPU, frozen. Raises UsageError when the weights are not there."""
        chosen = (settings or self.Settings()).weights
        folder = Path(chosen) if chosen else Path(str(files("demo_world") / "weights"))
        if not (folder / "transformer" / "config.json").is_file():
            raise UsageError(
                f"The demo base's weights are not in `{folder.name}/`.",
                cause="The installation is incomplete.",
                action="Reinstall Palate, or rebuild them with `make world`.",
            )
        options = {"local_files_only": True, "torch_dtype": torch.float32}
        self.network: Any = FluxTransformer2DModel.from_pretrained(folder, subfolder="transformer", **options)
        self.vae: Any = AutoencoderKL.from_pretrained(folder, subfolder="vae", **options)
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        self.text_encoder: Any = CLIPTextModel.from_pretrained(
            folder / "text_encoder", local_files_only=True, dtype=torch.float32
        )
        for part in self._parts():
            part.eval().requires_grad_(False)
        self.schedule = FlowSchedule()
        width = self.vae.config.sample_size // 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.latent_shape = (self.vae.config.latent_channels, width, width)

    def to(self, device: torch.device) -> Demo:
        """Move every part."""
        for part in self._parts():
            part.to(device)
        return self

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Token states [B, T, D] and the pooled state [B, D]."""
        length = self.text_encoder.config.max_position_embeddings
        tokens = self.tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids
        states = self.text_encoder(tokens.to(self.network.device))
        return {"prompt_embeds": states.last_hidden_state, "pooled": states.pooler_output}

    def encode_nothing(self) -> Conditioning:
        """The empty prompt."""
        return self.encode([""])

    def guide(self, with_text: Tensor, without: Tensor, guidance_scale: float) -> Tensor:
        """Classifier-free guidance (arXiv:2207.12598)."""
        return without + guidance_scale * (with_text - without)

    def release_text(self) -> None:
        """Nothing to gain: the text encoder is tiny and stays."""

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The velocity [B, 4, 16, 16]; guidance is applied by whoever calls."""
        text = conditioning["prompt_embeds"]
        output = self.network(
            hidden_states=pack(x_t),
            timestep=timestep,
            encoder_hidden_states=text.to(x_t.dtype),
            pooled_projections=conditioning["pooled"].to(x_t.dtype),
            img_ids=image_ids(x_t.shape[-2] // PATCH, x_t.shape[-1] // PATCH, x_t.device),
            txt_ids=torch.zeros(text.shape[1], 3, device=x_t.device),
            return_dict=False,
        )[0]
        return unpack(output, x_t.shape[-2] // PATCH, x_t.shape[-1] // PATCH)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, 64, 64] in [0, 1]."""
        scaled = latents / self.vae.config.scaling_factor + self.vae.config.shift_factor
        return (self.vae.decode(scaled, return_dict=False)[0] / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """Latents of pictures in [0, 1]: the mean of the posterior."""
        posterior = self.vae.encode(images * 2 - 1, return_dict=False)[0]
        return (posterior.mode() - self.vae.config.shift_factor) * self.vae.config.scaling_factor

    def _parts(self) -> tuple[nn.Module, ...]:
        return (self.network, self.vae, self.text_encoder)
