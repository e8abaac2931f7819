"""SRPO's two branches: which noise levels a draw leads from and to, and what each word's score weighs there.

Levels and discounts follow the published FLUX recipe, labelled by sigma instead of by index: "early" is the noisy end
of the trained range, "late" the clean end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor

EDGE = 5  # the published code draws m in {5, …, T - 5}


@dataclass(frozen=True)
class Branch:
    """One network call: from noise level `sigma_in` [B] to `target` [B], scored with `weights` [B, 2] on (pos, neg)."""

    name: str
    sigma_in: Tensor
    target: Tensor
    weights: Tensor
    share: float


class Branches(BaseModel):
    """Settings of the levels and discounts of arXiv:2509.06942, section 3 and its released code."""

    sigma_low: float = Field(default=0.75, gt=0, lt=1, description="Late (clean) end of the trained noise levels.")
    sigma_high: float = Field(
        default=27 / 28, gt=0, le=0.97, description="Early (noisy) end; above 0.97 structure breaks."
    )
    levels: int = Field(default=1000, ge=12, le=100_000, description="Length T of the grid of trained levels.")
    known_share: float = Field(
        default=0.9, ge=0, lt=1, description="Share q of the injected noise that stays known; step = (1 - q) T."
    )
    inversion: float = Field(
        default=1.0, ge=0, le=4, description="Weight of the inversion branch, the regulariser; 0 turns it off."
    )
    form: Literal["code", "paper"] = Field(
        default="code",
        description="Relative reward: (1+k) pos - neg (released code) or k pos + (1-k) neg (paper, eq. 10).",
    )
    positive_early: float = Field(default=0.25, ge=-2, le=2, description="k of the denoise branch at the noisy end.")
    positive_late: float = Field(default=0.1, ge=-2, le=2, description="k of the denoise branch at the clean end.")
    inversion_early: float = Field(default=0.01, ge=-2, le=2, description="k of the inversion branch at the noisy end.")
    inversion_late: float = Field(default=0.3, ge=-2, le=2, description="k of the inversion branch at the clean end.")

    @model_validator(mode="after")
    def _ordered(self) -> Branches:
        if self.sigma_low >= self.sigma_high:
            raise ValueError("sigma_low < sigma_high must hold")
        return self

    def draw_branches(self, m: Tensor) -> list[Branch]:
        """The denoise and the inversion branch at grid position m [B]; both recover at the same level."""
        size = self.levels
        grid = torch.linspace(self.sigma_high, self.sigma_low, size, device=m.device)  # entry 0 is the noisiest
        width = torch.minimum(torch.minimum(size - m, m), torch.tensor(self.step_in_grid(), device=m.device))
        target = grid[size - m]
        early = m / (size - 1)
        k_denoise = self.positive_late + (self.positive_early - self.positive_late) * early
        k_invert = self.inversion_late + (self.inversion_early - self.inversion_late) * (m - width) / (size - 1)
        denoise = Branch("denoise", grid[size - m - width], target, self._weights(k_denoise), 0.5)
        cleaner = (size - m + width).clamp(max=size - 1)
        invert = Branch("inversion", grid[cleaner], target, self._weights(k_invert).flip(1), 0.5 * self.inversion)
        return [denoise, invert] if self.inversion > 0 else [denoise]

    def step_in_grid(self) -> int:
        """κ = int((1 - q) T) + 1 grid entries between input and target (100 for q = 0.9, T = 1000, as released)."""
        return int((1 - self.known_share) * self.levels) + 1

    def _weights(self, k: Tensor) -> Tensor:
        """Weights of the (wanted, unwanted) word's reward, [B, 2]."""
        pair = (1 + k, -torch.ones_like(k)) if self.form == "code" else (k, 1 - k)
        return torch.stack(pair, dim=1)
