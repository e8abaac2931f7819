"""What the families of diffusers share: parts of a pipeline loaded, frozen, asked and released. A family says the rest.

A family never repeats what its pipeline knows. Text goes through the pipeline's own `encode_prompt`, noise levels come
from its scheduler's config, latents are scaled as its VAE's config says; only the network call is written out, because
the pipelines run theirs without gradient.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from training.bases import _loading
from training.contracts import Conditioning, LoraFacts
from training.schedules import DdpmSchedule, FlowSchedule, Schedule

WEIGHTS = "Hub id (owner/name or owner/name@revision), folder in diffusers layout, or one checkpoint file."
Dtype = Literal["float32", "bfloat16", "float16"]


class SharedSettings(BaseModel):
    """Settings that all real bases have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str = Field(description=WEIGHTS)
    layout: str | None = Field(
        default=None, description="For one checkpoint file: Hub id or folder with its configs and tokenizers."
    )
    parts: dict[str, str] = Field(
        default={}, description="Components from files of their own, such as {transformer: flux1-dev.safetensors}."
    )
    comfyui: str | None = Field(
        default=None, description="ComfyUI's folder; names in `parts` are looked up in its model folders."
    )
    dtype: Dtype = Field(default="bfloat16", description="Precision that the frozen weights are kept in.")
    # 16 pixels: 8 to one latent, 2 x 2 latents to one token. A family without tokens wants whole latents only.
    width: int = Field(default=1024, ge=16, le=4096, multiple_of=16, description="Picture width in pixels.")
    height: int = Field(default=1024, ge=16, le=4096, multiple_of=16, description="Picture height in pixels.")
    quantisation: Literal["none", "int8_weight_only", "int8", "nf4"] = Field(
        default="none",
        description="Frozen network weights: int8_weight_only (torchao, also on CPU), int8 or nf4 (bitsandbytes).",
    )
    offload: bool = Field(
        default=False, description="Keep the network in RAM and bring its layers to the GPU as they are needed."
    )
    compile: bool = Field(default=False, description="Compile the repeated blocks: slow first step, faster others.")
    gradient_checkpointing: bool = Field(
        default=True, description="Recompute activations in the backward pass: far less memory, about a third slower."
    )


class BaseSettings(SharedSettings):
    """And those of a family whose text may be of any length."""

    max_tokens: int | None = Field(
        default=None, ge=8, le=2048, description="Longest prompt in tokens; empty: the family's own."
    )


def hub(name: str) -> Any:
    """The `weights` setting of a family that has a Hub id as its default."""
    return Field(default=name, description=WEIGHTS)


class DiffusersBase:
    """A family on a diffusers pipeline. Subclasses set the class variables and write `encode` and `forward`."""

    Settings: ClassVar[type[SharedSettings]]
    pipeline: ClassVar[str]  # its class in diffusers
    component: ClassVar[Literal["transformer", "unet"]] = "transformer"
    gives: ClassVar[frozenset[str]] = frozenset({"text_to_image"})
    parametrisation: Literal["epsilon", "sample", "v_prediction", "velocity"] = "velocity"
    guidance: Literal["true", "embedded", "none"] = "true"
    frames_per_second: ClassVar[int] = 0
    frames: int = 0
    lora_layers: Mapping[str, Sequence[str]]  # "attention" and "all" → names of layers, or ends of names
    lora_family: ClassVar[tuple[str, str, str]]  # family, modelspec.architecture, ss_base_model_version
    reader: ClassVar[str] = "tokenizer"  # the pipeline's tokenizer that reads furthest
    longest: ClassVar[int] = 512  # tokens of a prompt, where the settings say nothing

    schedule: Schedule
    latent_shape: tuple[int, ...]

    def __init__(self, settings: SharedSettings) -> None:
        """Load the network and the VAE on the CPU, frozen; text encoders wait until a prompt needs them."""
        self.settings = settings
        self.pipe: Any = self._load(text=False)
        self.network: Any = getattr(self.pipe, self.component)
        self.vae: Any = self.pipe.vae
        for part in (self.network, self.vae):
            part.eval().requires_grad_(False)
        self.max_tokens: int = getattr(settings, "max_tokens", None) or self.longest
        if settings.gradient_checkpointing:
            self.enable_gradient_checkpointing()
        self.device = torch.device("cpu")
        self._text: Any = None
        self._has_warned = False
        family, architecture, version = self.lora_family
        self.lora_facts = LoraFacts(
            family, self.component, architecture, version,
            _loading.public_name(settings.weights), (settings.width, settings.height),
        )  # fmt: skip

    def to(self, device: torch.device) -> DiffusersBase:
        """Move every part."""
        self.device = device
        self.vae.to(device)
        if self.settings.offload:
            self.network.enable_group_offload(device, offload_type="leaf_level", use_stream=device.type == "cuda")
        else:
            self.network.to(device)
        if self.settings.compile:
            self.network.compile_repeated_blocks()
        if self._text is not None:
            self._text.to(device)
        return self

    def enable_gradient_checkpointing(self) -> None:
        """The network's and the VAE's."""
        recompute_activations(self.network)
        recompute_activations(self.vae)

    @property
    def text(self) -> Any:
        """The pipeline's text half, loaded when first asked for."""
        if self._text is None:
            self._text = self._load(text=True).to(self.device)
        return self._text

    @property
    def text_id(self) -> str:
        """Weights, precision and length limit of the text half; all of its files where they are local."""
        return _loading.text_id(self.settings)

    @property
    def latents_id(self) -> str:
        """Weights, precision and picture size of the VAE; its file where it is local."""
        return _loading.latents_id(self.settings, (self.settings.width, self.settings.height, self.frames))

    def release_text(self) -> None:
        """Give the text encoders' memory back; they load again should a new prompt come."""
        self._text = None

    def _load(self, *, text: bool) -> Any:
        return _loading.load_pipeline(self.pipeline, self.settings, component=self.component, text=text)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Text conditioning, [B, ...] each. Warns of the first prompt that is longer than what is read of it."""
        self._warn_of_a_cut(prompts)
        return {name: value.to(self.device) for name, value in self.encode_text(list(prompts)).items()}

    def encode_text(self, prompts: list[str]) -> Conditioning:
        """What the family's pipeline makes of prompts."""
        raise NotImplementedError(type(self).__name__)

    def as_read(self, prompt: str) -> str:
        """The text that the tokenizer sees of a prompt."""
        return prompt

    def _warn_of_a_cut(self, prompts: Sequence[str]) -> None:
        read = getattr(self.text, self.reader)
        for prompt in [] if self._has_warned else prompts:
            tokens = len(read(self.as_read(prompt), verbose=False).input_ids)
            if tokens > self.max_tokens:
                self._has_warned = True
                warnings.warn(
                    f"The prompt `{prompt[:40]}…` is {tokens} tokens long, of which {self.lora_facts.base_name} reads "
                    f"{self.max_tokens}; the rest of it, and of every other long prompt, is ignored.",
                    stacklevel=3,
                )
                break

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


def recompute_activations(part: Any) -> None:
    """Gradient checkpointing: diffusers' own, or by block of the outermost lists where a class has none."""
    if part._supports_gradient_checkpointing:
        part.enable_gradient_checkpointing()
        return
    for block in _blocks(part):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _blocks(part: nn.Module) -> Iterator[nn.Module]:
    for child in part.children():
        yield from child if isinstance(child, nn.ModuleList) else _blocks(child)


def flow_schedule(
    scheduler: Any, mu: float | Callable[[int], float] | None = None, *, spaced: bool = True
) -> FlowSchedule:
    """The levels of a FlowMatchEulerDiscreteScheduler.

    spaced: the pipeline hands in sigmas from 1 to 1/steps; otherwise the scheduler's own spacing. mu: log of the
    resolution-dependent shift, for schedulers that ask for it; may depend on the number of steps.
    """

    def grid(steps: int) -> Tensor:
        options = {"mu": mu(steps) if callable(mu) else mu} if scheduler.config.use_dynamic_shifting else {}
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
