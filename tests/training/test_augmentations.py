"""What a reward sees is shifted, scaled, blurred and noised a little: enough against patterns, too little for taste."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from training.augmentations import _blur, augment
from training.randomness import Rng

RNG = Rng(1, 2, (0, 1, 2))


def smooth_pictures(side: int = 16) -> torch.Tensor:
    ramp = torch.linspace(0.3, 0.7, side)
    return (ramp[:, None] + ramp[None, :]).div(2).expand(3, 3, side, side).clone()


def test_strength_zero_returns_the_very_pictures() -> None:
    images = smooth_pictures()
    assert augment(images, RNG, 0) is images


@given(strength=st.floats(0, 2), seed=st.integers(0, 1000))
def test_pictures_stay_pictures(strength: float, seed: int) -> None:
    images = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(seed))
    changed = augment(images, Rng(seed, 0, (0, 1)), strength)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_a_sample_is_augmented_the_same_in_any_batch_and_every_time() -> None:
    images = smooth_pictures()
    together = augment(images, RNG, 1.0)
    assert torch.equal(together, augment(images, RNG, 1.0))
    assert_close(together[1:2], augment(images[1:2], Rng(1, 2, (1,)), 1.0), rtol=1e-5, atol=1e-6)


def test_all_frames_of_a_clip_are_changed_alike_and_as_a_picture_would_be() -> None:
    images = smooth_pictures()
    clip = images[:, None].expand(-1, 4, -1, -1, -1)
    changed = augment(clip, RNG, 1.0)
    assert changed.shape == clip.shape
    assert torch.equal(changed, changed[:, :1].expand_as(changed))
    assert_close(changed[:, 0], augment(images, RNG, 1.0), rtol=1e-5, atol=1e-6)


def test_samples_and_updates_are_augmented_differently() -> None:
    images = smooth_pictures()
    once = augment(images, RNG, 1.0)
    assert not torch.allclose(once[0], once[1])
    assert not torch.allclose(once, augment(images, Rng(1, 3, (0, 1, 2)), 1.0))


def test_a_picture_is_changed_only_a_little() -> None:
    images = smooth_pictures()
    assert (augment(images, RNG, 1.0) - images).abs().mean() < 0.06


def test_the_gradient_reaches_the_pictures() -> None:
    images = smooth_pictures().requires_grad_()
    augment(images, RNG, 1.0).sum().backward()
    assert images.grad.isfinite().all()
    assert images.grad.sum() == pytest.approx(images.numel(), rel=0.15)  # nothing is amplified, hardly anything lost


def test_blur_keeps_constants_and_takes_the_energy_of_a_checkerboard() -> None:
    flat = torch.full((2, 3, 8, 8), 0.4)
    sigma = torch.tensor([0.3, 0.6])
    assert_close(_blur(flat, sigma), flat)
    checker = ((torch.arange(8)[:, None] + torch.arange(8)[None, :]) % 2).float().expand(2, 3, 8, 8)
    left = _blur(checker, sigma)[:, :, 2:-2, 2:-2].std(dim=(1, 2, 3))
    assert left[1] < 0.3 * left[0]
