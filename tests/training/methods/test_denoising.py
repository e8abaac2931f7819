"""Noise levels of methods that learn from finished pictures, at the ends of the grid."""

from __future__ import annotations

import pytest
import torch

from training.methods._denoising import Denoising, by_level
from training.randomness import Rng


@pytest.mark.parametrize(
    ("low", "high", "only"), [(0.9995, 1.0, 1.0), (0.50002, 0.50008, 0.5), (0.0, 0.001, 0.001), (0.0, 0.0005, 0.001)]
)
def test_a_narrow_range_draws_the_one_level_that_fits_it_best(linear_policy, low: float, high: float, only: float):
    """Of 1, 0.999, …, 0.001: within the range, else just below it, but never the clean picture itself."""
    drawn = Denoising(sigma_low=low, sigma_high=high).draw(linear_policy(), Rng(1, 1, tuple(range(40))))
    assert drawn.sigma.tolist() == pytest.approx([only] * 40, abs=1e-6)


def test_numbers_of_pure_noise_belong_to_the_noisiest_tenth() -> None:
    found = by_level(torch.tensor([1.0, 0.05, 0.97]), {"error": torch.tensor([7.0, 8.0, 9.0])})
    assert {name: value.tolist() for name, value in found.items()} == {
        "error.sigma_0.0": [8.0], "error.sigma_0.9": [7.0, 9.0],
    }  # fmt: skip
