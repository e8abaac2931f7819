"""What the families of diffusers share: parts of a pipeline loaded, frozen, asked and released. A family says the rest.

A family never repeats what its pipeline knows. Text goes through the pipeline's own `encode_prompt`, noise levels come
from its scheduler's config, latents are scaled as its VAE's config says; only the network call is written out, because
the pipelines run theirs without gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from training.bases import _loading
from training.contracts import Conditioning, LoraFacts
from training.schedules import DdpmSchedule, FlowSchedule, Schedule

Dtype = Literal["float32", "bfloat16", "float16"]


class BaseSettings(BaseModel):
    """Settings that all real bases have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str = Field(description="Hub id, local folder in diffusers layout, or one checkpoint file.")
    revision: str | None = Field(default=None, description="Branch, tag or commit on the Hub; empty: the newest.")
    dtype: Dtype = Field(default="bfloat16", description="Precision that the frozen weights are kept in.")
    width: int = Field(default=1024, ge=16, le=4096, description="Picture width in pixels.")
    height: int = Field(default=1024, ge=16, le=4096, description="Picture height in pixels.")
    max_tokens: int | None = Field(
        default=None, ge=8, le=2048, description="Longest prompt in tokens; empty: the family's own."
    )
    gradient_checkpointing: bool = Field(
        default=True, description="Recompute activations in the backward pass: far less memory, about a third slower."
    )


class DiffusersBase:
    """A family on a diffusers pipeline. Subclasses set the class variables and write `encode` and `forward`."""

    Settings: ClassVar[type[BaseSettings]]
    pipeline: ClassVar[str]  # its class in diffusers
    component: ClassVar[Literal["transformer", "unet"]] = "transformer"
    gives: ClassVar[frozenset[str]] = frozenset({"text_to_image"})
    parametrisation: Literal["epsilon", "sample", "v_prediction", "velocity"] = "velocity"
    guidance: Literal["true", "embedded", "none"] = "true"
    frames_per_second: ClassVar[int] = 0
    lora_layers: ClassVar[Mapping[str, Sequence[str]]]
    lora_family: ClassVar[tuple[str, str, str]]  # family, modelspec.architecture, ss_base_model_version

    schedule: Schedule
    latent_shape: tuple[int, ...]

    def __init__(self, settings: BaseSettings) -> None:
        """Load the network and the VAE on the CPU, frozen; text encoders wait until a prompt needs them."""
        self.settings = settings
        self.pipe: Any = _loading.load_pipeline(self.pipeline, settings, text=False)
        self.network: Any = getattr(self.pipe, self.component)
        self.vae: Any = self.pipe.vae
        for part in (self.network, self.vae):
            part.eval().requires_grad_(False)
        if settings.gradient_checkpointing:
            self.enable_gradient_checkpointing()
        self.device = torch.device("cpu")
        self._text: Any = None
        family, architecture, version = self.lora_family
        self.lora_facts = LoraFacts(
            family, self.component, architecture, version,
            _loading.public_name(settings.weights), (settings.width, settings.height),
        )  # fmt: skip

    def to(self, device: torch.device) -> DiffusersBase:
        """Move every part."""
        self.device = device
        for part in (self.network, self.vae):
            part.to(device)
        if self._text is not None:
            self._text.to(device)
        return self

    def enable_gradient_checkpointing(self) -> None:
        """The network's and the VAE's."""
        self.network.enable_gradient_checkpointing()
        self.vae.enable_gradient_checkpointing()

    @property
    def text(self) -> Any:
        """The pipeline's text half, loaded when first asked for."""
        if self._text is None:
            self._text = _loading.load_pipeline(self.pipeline, self.settings, text=True).to(self.device)
        return self._text

    def release_text(self) -> None:
        """Give the text encoders' memory back; they load again should a new prompt come."""
        self._text = None

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Text conditioning, [B, ...] each."""
        return {name: value.to(self.device) for name, value in self.encode_text(list(prompts)).items()}

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """What the family's pipeline makes of prompts."""
        raise NotImplementedError(type(self).__name__)

    def encode_nothing(self) -> Conditioning:
        """The empty prompt, [1, ...]."""
        return self.encode([""])

    def guide(self, with_text: Tensor, without: Tensor, guidance_scale: float) -> Tensor:
        """Classifier-free guidance (arXiv:2207.12598)."""
        return without + guidance_scale * (with_text - without)

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The raw network output [B, *latent_shape]."""
        raise NotImplementedError(type(self).__name__)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1], with gradient."""
        decoded = self.run_decoder(self.unscale(latents).to(self.vae.dtype))
        return (decoded.float() / 2 + 0.5).clamp(0, 1)

    def run_decoder(self, latents: Tensor) -> Tensor:
        """The VAE's latents to its pixels, around [-1, 1]."""
        return self.vae.decode(latents, return_dict=False)[0]

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """Latents of pictures in [0, 1]: the mean of the posterior."""
        posterior = self.vae.encode((images * 2 - 1).to(self.vae.dtype), return_dict=False)[0]
        return self.scale(posterior.mode().float())

    def scale(self, latents: Tensor) -> Tensor:
        """The VAE's latents to the network's."""
        config = self.vae.config
        return (latents - (getattr(config, "shift_factor", None) or 0.0)) * config.scaling_factor

    def unscale(self, latents: Tensor) -> Tensor:
        """Inverse of `scale`."""
        config = self.vae.config
        return latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)


def flow_schedule(scheduler: Any, mu: float | None = None, *, spaced: bool = True) -> FlowSchedule:
    """The levels of a FlowMatchEulerDiscreteScheduler.

    spaced: the pipeline hands in sigmas from 1 to 1/steps; otherwise the scheduler's own spacing. mu: log of the
    resolution-dependent shift, for schedulers that ask for it.
    """
    options = {"mu": mu} if scheduler.config.use_dynamic_shifting else {}

    def grid(steps: int) -> Tensor:
        if spaced:
            scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), **options)
        else:
            scheduler.set_timesteps(steps, **options)
        return scheduler.sigmas.cpu().float()

    return FlowSchedule(grid)


def ddpm_schedule(scheduler_class: Callable[..., Any], config: Mapping[str, Any]) -> DdpmSchedule:
    """Levels and timesteps of a DDPM family, from its scheduler's config read by a DDIM scheduler class."""
    scheduler = scheduler_class.from_config(config)  # type: ignore[attr-defined]
    return DdpmSchedule(scheduler.alphas_cumprod, partial(_ddim_timesteps, scheduler))


def _ddim_timesteps(scheduler: Any, steps: int) -> Tensor:
    scheduler.set_timesteps(steps)
    final = torch.tensor([-1 if scheduler.config.set_alpha_to_one else 0])
    return torch.cat([scheduler.timesteps.cpu().long(), final])


def resolution_shift(config: Mapping[str, Any], tokens: int) -> float:
    """mu, linear in the number of image tokens between the scheduler config's two anchors."""
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    slope = (config.get("max_shift", 1.15) - config.get("base_shift", 0.5)) / (high - low)
    return config.get("base_shift", 0.5) + slope * (tokens - low)
