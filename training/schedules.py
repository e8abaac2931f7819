"""Noise levels. Every method speaks of them on one axis, the flow sigma in [0, 1]: 0 = image, 1 = noise.

A DDPM family answers with its nearest integer timestep at the same noise-to-signal ratio rho = sigma / (1 - sigma),
because its network can be asked about nothing between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Level:
    """x_t = alpha x0 + sigma noise, and the `timestep` the network is fed. All of shape [B], float32."""

    alpha: Tensor
    sigma: Tensor
    timestep: Tensor

    @property
    def rho(self) -> Tensor:
        """Noise-to-signal ratio sigma / alpha."""
        return self.sigma / self.alpha


class Schedule(Protocol):
    """Maps the common axis to a family's levels."""

    def level(self, sigma: Tensor) -> Level:
        """sigma: [B] on the flow axis in [0, 1]."""
        ...


def shift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """s σ / (1 + (s - 1) σ): more of the grid near the noise for shift > 1 (arXiv:2403.03206, eq. 23)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def unshift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """Inverse of `shift_sigma`."""
    return sigma / (shift - (shift - 1) * sigma)


def sigma_grid(steps: int, shift: float = 1.0) -> Tensor:
    """The sampler's levels from 1 to 0, [steps + 1] float32."""
    return shift_sigma(torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64), shift).float()


class FlowSchedule:
    """Rectified flow: alpha = 1 - sigma, and the network is fed sigma itself."""

    def level(self, sigma: Tensor) -> Level:
        """sigma: [B] in [0, 1]."""
        return Level(1 - sigma, sigma, sigma)


class DdpmSchedule:
    """A variance-preserving family given by its scheduler's alphas_cumprod: alpha² + sigma² = 1, integer timesteps."""

    def __init__(self, alphas_cumprod: Tensor) -> None:
        """alphas_cumprod: [T], falling, from the scheduler's config; a last value of 0 is never used."""
        known = alphas_cumprod.double()
        usable = known[known >= 1e-3]  # alpha >= 0.03: below, one division by alpha drowns the image
        self._alpha, self._sigma = usable.sqrt(), (1 - usable).sqrt()
        self._log_rho = (self._sigma / self._alpha).log()

    def level(self, sigma: Tensor) -> Level:
        """The integer timestep nearest in log rho; sigma = 0 is the clean image itself."""
        wanted = (sigma.double() / (1 - sigma.double()).clamp(min=1e-12)).clamp(min=1e-12).log()
        timestep = (self._log_rho.to(wanted.device) - wanted[:, None]).abs().argmin(dim=1)
        clean = sigma <= 0
        alpha = torch.where(clean, 1.0, self._alpha.to(wanted.device)[timestep]).float()
        noise = torch.where(clean, 0.0, self._sigma.to(wanted.device)[timestep]).float()
        return Level(alpha, noise, timestep)
