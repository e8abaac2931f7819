"""What video families add to `_diffusers`: a number of frames, latents with a time axis, clips instead of pictures."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator
from torch import Tensor

from training.bases._diffusers import DiffusersBase, SharedSettings


class VideoSettings(SharedSettings):
    """Settings that all video bases have. A family says how many frames its VAE takes at a time."""

    frames_at_a_time: ClassVar[int] = 4

    frames: int = Field(default=81, ge=1, le=1025, description="Frames of a clip; the first one stands alone.")
    width: int = Field(default=832, ge=16, le=4096, multiple_of=16, description="Picture width in pixels.")
    height: int = Field(default=480, ge=16, le=4096, multiple_of=16, description="Picture height in pixels.")

    @field_validator("frames")
    @classmethod
    def _whole_groups(cls, frames: int) -> int:
        group = cls.frames_at_a_time
        below = (frames - 1) // group * group + 1
        if frames != below:
            raise ValueError(f"{frames} is not {group}k + 1; the nearest are {below} and {below + group}")
        return frames


class VideoBase(DiffusersBase):
    """A video family on a diffusers pipeline. Latents are [B, C, F, h, w], clips [B, F, 3, H, W].

    The VAE is never tiled: seams would be rewarded or punished like anything else in a picture.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"text_to_video"})

    def __init__(self, settings: VideoSettings) -> None:
        """Load; the VAE says how pixels become latents in time and space."""
        super().__init__(settings)
        self.frames = settings.frames
        side, group = self.pipe.vae_scale_factor_spatial, self.pipe.vae_scale_factor_temporal
        self.latent_shape = (
            self.network.config.in_channels,
            (settings.frames - 1) // group + 1,
            settings.height // side,
            settings.width // side,
        )

    def decode(self, latents: Tensor) -> Tensor:
        """Clips [B, F, 3, H, W] in [0, 1], with gradient."""
        return super().decode(latents).transpose(1, 2)

    def encode_images(self, images: Tensor) -> Tensor:
        """Latents of clips [B, F, 3, H, W] in [0, 1]: the mean of the posterior."""
        return super().encode_images(images.transpose(1, 2))
