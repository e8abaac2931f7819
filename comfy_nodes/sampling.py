"""Pictures by core's own sampler and decoder, so that a cell of a grid is what KSampler and VAE Decode give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.utils
import nodes
from torch import Tensor

from .logic.conditioning import Conditioning


@dataclass(frozen=True)
class Sampler:
    """KSampler's settings, one latent and what decodes it. Raises ValueError for a batch of latents."""

    vae: Any
    latent: dict[str, Any]
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    denoise: float

    def __post_init__(self) -> None:
        batch = self.latent["samples"].shape[0]
        if batch != 1:
            raise ValueError(f"The latent is a batch of {batch}. Set its batch_size to 1; `seeds` asks for more rows.")

    def sample(self, model: Any, positive: Conditioning, negative: Conditioning, seed: int) -> dict[str, Any]:
        """The latent of one cell."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        settings = (self.steps, self.cfg, self.sampler_name, self.scheduler)
        (sampled,) = nodes.common_ksampler(
            model, seed, *settings, positive, negative, self.latent, denoise=self.denoise
        )
        return sampled

    def decode(self, sampled: dict[str, Any]) -> Tensor:
        """Its picture [1,h,w,C], or its clip [F,h,w,C]."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        (frames,) = nodes.VAEDecode().decode(self.vae, sampled)
        return frames


@contextmanager
def progress_of(part: int, parts: int) -> Iterator[None]:
    """While this part of the work is done, its progress bar is that part of the node's."""
    whole = comfy.utils.PROGRESS_BAR_HOOK

    def hook(value: float, total: float, *preview: Any, **about: Any) -> None:
        whole(part * total + value, parts * total, *preview, **about)

    comfy.utils.set_progress_bar_global_hook(hook if whole else None)
    try:
        yield
    finally:
        comfy.utils.set_progress_bar_global_hook(whole)
