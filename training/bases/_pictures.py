"""What families of pictures share beyond their pipeline: the latents' shape, and levels by the scheduler's config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from training.bases._diffusers import DiffusersBase, SharedSettings, ddpm_schedule, flow_schedule, resolution_shift
from training.bases._packing import PATCH
from training.contracts import Conditioning


class Pictures(DiffusersBase):
    """Latents [channels, height / side, width / side] of one picture."""

    def __init__(self, settings: SharedSettings) -> None:
        """Load; the shape follows from the VAE."""
        super().__init__(settings)
        side = self.pipe.vae_scale_factor
        self.latent_shape = (self.latent_channels, settings.height // side, settings.width // side)

    @property
    def latent_channels(self) -> int:
        """Channels of the VAE's latents."""
        return self.vae.config.latent_channels


class FlowPictures(Pictures):
    """Rectified flow. Where the scheduler's shift depends on the resolution, a token is PATCH x PATCH latents."""

    spaced: ClassVar[bool] = True  # the pipeline hands its scheduler sigmas from 1 to 1/steps

    def __init__(self, settings: SharedSettings) -> None:
        """Load; the levels are the scheduler's."""
        super().__init__(settings)
        _, rows, columns = self.latent_shape
        mu = resolution_shift(self.pipe.scheduler.config, rows * columns // PATCH**2)
        self.schedule = flow_schedule(self.pipe.scheduler, mu, spaced=self.spaced)


class DdpmPictures(Pictures):
    """A DDPM family, walked by DDIM."""

    def __init__(self, settings: SharedSettings) -> None:
        """Load; what the network predicts, and at which levels, stands in the scheduler's config."""
        super().__init__(settings)
        config = self.pipe.scheduler.config
        self.parametrisation = config.prediction_type
        self.schedule = ddpm_schedule(DDIMScheduler, config)


def padded(states: Sequence[Tensor], length: int) -> Conditioning:
    """Texts of up to `length` states [n_i, D] each → `states` [B, length, D], zero behind a text, and its `mask`."""
    sizes = torch.tensor([len(text) for text in states], device=states[0].device)
    together = pad_sequence([*states, states[0].new_zeros(length, states[0].shape[1])], batch_first=True)
    return {"states": together[:-1], "mask": torch.arange(length, device=sizes.device) < sizes[:, None]}
