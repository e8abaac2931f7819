"""Noise levels. Every method speaks of them on one axis, the flow sigma in [0, 1]: 0 = image, 1 = noise.

A DDPM family answers with its nearest integer timestep at the same noise-to-signal ratio rho = sigma / (1 - sigma),
because its network can be asked about nothing between.
"""

from __future__ import annotations

from collections.abc import Callable
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

    def grid(self, steps: int) -> Tensor:
        """The levels that the family's own sampler walks, [steps + 1] falling, as its scheduler is configured."""
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

    def __init__(self, grid: Callable[[int], Tensor] = sigma_grid) -> None:
        """grid: steps → the family's own levels."""
        self._grid = grid

    def level(self, sigma: Tensor) -> Level:
        """sigma: [B] in [0, 1]."""
        return Level(1 - sigma, sigma, sigma)

    def grid(self, steps: int) -> Tensor:
        """[steps + 1] from 1 to 0."""
        return self._grid(steps)


class DdpmSchedule:
    """A variance-preserving family given by its scheduler's alphas_cumprod: alpha² + sigma² = 1, integer timesteps."""

    def __init__(self, alphas_cumprod: Tensor, timesteps: Callable[[int], Tensor] | None = None) -> None:
        """alphas_cumprod: [T], falling, from the scheduler's config.

        timesteps: steps → the integer timesteps [steps + 1] that the family's own sampler visits, -1 for the clean
        image; without it `grid` is even on the flow axis.
        """
        known = alphas_cumprod.double()
        self._alpha, self._sigma = known.sqrt(), (1 - known).sqrt()
        self._timesteps = timesteps
        usable = known[known > 0]  # pure noise has no finite rho; `level` knows it as sigma = 1
        self._log_rho = (1 / usable - 1).sqrt().log()

    def level(self, sigma: Tensor) -> Level:
        """The integer timestep nearest in log rho; sigma = 0 is the clean image itself, 1 the last timestep."""
        wanted = (sigma.double() / (1 - sigma.double()).clamp(min=1e-12)).clamp(min=1e-12).log()
        timestep = (self._log_rho.to(wanted.device) - wanted[:, None]).abs().argmin(dim=1)
        timestep = torch.where(sigma >= 1, len(self._alpha) - 1, timestep)
        clean = sigma <= 0
        alpha = torch.where(clean, 1.0, self._alpha.to(wanted.device)[timestep]).float()
        noise = torch.where(clean, 0.0, self._sigma.to(wanted.device)[timestep]).float()
        return Level(alpha, noise, timestep)

    def grid(self, steps: int) -> Tensor:
        """[steps + 1] on the flow axis: rho / (1 + rho) of the scheduler's timesteps."""
        if self._timesteps is None:
            return sigma_grid(steps)
        visited = self._timesteps(steps)
        rows = visited.clamp(0, len(self._alpha) - 1)  # an offset may lead beyond the last of as many steps as levels
        sigma = self._sigma[rows] / (self._sigma[rows] + self._alpha[rows])
        return torch.where(visited < 0, 0.0, sigma).float()
