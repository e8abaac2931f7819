"""What every base promises: shapes, ranges, a law between its levels and its outputs, and layers for a LoRA."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from training import interpolants, rollout
from training.adapters import Policy
from training.randomness import Rng

PROMPTS = ["a cat", "a red car"]


@pytest.fixture
def x_t(policy: Policy) -> torch.Tensor:
    return Rng(1, 1, (0, 1)).normal("x", policy.latent_shape)


@pytest.fixture
def level(policy: Policy):
    return policy.schedule.level(torch.tensor([0.3, 0.8]))


def shake(policy: Policy) -> None:
    """Give the LoRA something to say."""
    for place, parameter in enumerate(policy.trainable().values()):
        generator = torch.Generator().manual_seed(place)
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)


def picture_shape(policy: Policy) -> tuple[int, ...]:
    """Of two pictures or of two clips."""
    width, height = policy.base.lora_facts.resolution
    frames = (policy.base.settings.frames,) if policy.base.frames_per_second else ()
    return (2, *frames, 3, height, width)


def test_an_estimate_is_float32_and_consistent_with_its_input(policy: Policy, x_t: torch.Tensor, level) -> None:
    estimate = policy.predict(x_t, level, policy.base.encode(PROMPTS))
    assert estimate.x0.shape == estimate.noise.shape == x_t.shape
    assert estimate.x0.dtype == torch.float32
    assert_close(interpolants.interpolate(*estimate, level.alpha, level.sigma), x_t, rtol=1e-4, atol=1e-4)


def test_recover_returns_x0_for_a_perfect_prediction(policy: Policy, x_t: torch.Tensor, level) -> None:
    """Oracle 1 with the levels and the parametrisation that this base really has."""
    kind, noise = policy.base.parametrisation, torch.flip(x_t, dims=[0])
    for other in (0.1, 0.6, 0.9):
        to = policy.schedule.level(torch.full((2,), other))
        x_in = interpolants.interpolate(x_t, noise, level.alpha, level.sigma)
        output = interpolants.TO_OUTPUT[kind](interpolants.Estimate(x_t, noise), level.alpha, level.sigma)
        estimate = interpolants.FROM_OUTPUT[kind](output, x_in, level.alpha, level.sigma)
        recovered = interpolants.recover(estimate, noise, to.alpha, to.sigma)
        assert (recovered - x_t).norm() <= 1e-4 * x_t.norm()


def test_pictures_are_rgb_between_0_and_1_with_gradient(policy: Policy, x_t: torch.Tensor) -> None:
    latents = (0.5 * x_t).requires_grad_()
    pictures = policy.decode(latents)
    assert pictures.shape == picture_shape(policy)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    pictures.sum().backward()
    assert latents.grad.abs().flatten(1).amax(dim=1).min() > 0


def test_latents_of_pictures_have_the_latent_shape_and_no_gradient(policy: Policy) -> None:
    latents = policy.base.encode_images(torch.rand(picture_shape(policy)).requires_grad_())
    assert latents.shape == (2, *policy.latent_shape)
    assert not latents.requires_grad


def test_conditioning_is_batched_and_frozen_and_depends_on_the_prompt_alone(policy: Policy) -> None:
    both, alone = policy.base.encode(PROMPTS), policy.base.encode(PROMPTS[1:])
    for name, value in both.items():
        assert len(value) == 2
        assert not value.requires_grad
        assert_close(value[1:], alone[name], rtol=1e-4, atol=1e-5)
    assert any(not torch.allclose(value[0], value[1]) for value in both.values())


def test_the_network_listens_to_its_prompt(policy: Policy, x_t: torch.Tensor, level) -> None:
    one = policy.predict(x_t, level, policy.base.encode(["a cat"] * 2)).noise
    other = policy.predict(x_t, level, policy.base.encode(["a red car"] * 2)).noise
    assert not torch.allclose(one, other)


def test_a_fresh_lora_changes_nothing_at_all(policy: Policy, x_t: torch.Tensor, level) -> None:
    """Oracle 14, first half, on every base."""
    conditioning = policy.base.encode(PROMPTS)
    with_lora = policy.predict(x_t, level, conditioning).noise
    with policy.as_reference():
        assert torch.equal(policy.predict(x_t, level, conditioning).noise, with_lora)


@torch.no_grad()
def test_a_folded_lora_gives_the_same_answer_and_leaves_no_trace(policy: Policy, x_t: torch.Tensor, level) -> None:
    shake(policy)
    conditioning = policy.base.encode(PROMPTS)
    before = {name: parameter.clone() for name, parameter in policy.network.named_parameters()}
    expected = policy.predict(x_t, level, conditioning).noise
    with policy.as_reference():
        assert not torch.allclose(policy.predict(x_t, level, conditioning).noise, expected, atol=1e-4)
    with policy.folded():
        folded = policy.predict(x_t, level, conditioning).noise
    assert (folded - expected).norm() <= 1e-5 * expected.norm()
    assert all(torch.equal(parameter, before[name]) for name, parameter in policy.network.named_parameters())


@pytest.mark.parametrize("layers", ["attention", "all"])
def test_every_layer_name_finds_a_layer(policy: Policy, layers: str) -> None:
    names = [name.replace(".base_layer", "") for name, _ in policy.network.named_modules()]
    for wanted in policy.base.lora_layers[layers]:
        assert any(name == wanted or name.endswith(f".{wanted}") for name in names), wanted


def test_a_rollout_ends_in_finite_latents_that_obey_true_guidance(policy: Policy, x_t: torch.Tensor) -> None:
    conditioning = policy.base.encode(PROMPTS)
    plain = rollout.sample(policy, x_t, conditioning, steps=3)
    guided = rollout.sample(policy, x_t, conditioning, steps=3, guidance_scale=4.0)
    assert plain.isfinite().all()
    assert not torch.allclose(plain, guided)
