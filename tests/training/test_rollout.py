"""The walk from noise to image, held against the samplers of diffusers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch.testing import assert_close

from training import interpolants, rollout
from training.randomness import Rng
from training.schedules import DdpmSchedule, sigma_grid

STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SHAPE = (3, 2, 2)


@pytest.fixture
def noise() -> torch.Tensor:
    return Rng(1, 0, (0, 1, 2)).normal("noise", SHAPE).double()


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_flow_rollout_equals_diffusers_euler_sampler(bending_policy, noise: torch.Tensor, shift: float) -> None:
    policy = bending_policy()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, 11)[:-1].tolist())
    x = noise
    for timestep, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        with torch.no_grad():
            velocity = policy.network(x, policy.schedule.level(sigma.expand(len(x))))
        x = scheduler.step(velocity, timestep, x, return_dict=False)[0]
    assert_close(rollout.sample(policy, noise, {}, steps=10, shift=shift), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("parametrisation", ["epsilon", "v_prediction", "sample"])
def test_a_ddpm_rollout_equals_diffusers_ddim_sampler(
    bending_policy, noise: torch.Tensor, parametrisation: str
) -> None:
    """DDIM with eta = 0; its last step leads to alpha = 1, our sigma = 0."""
    scheduler = DDIMScheduler(**STABLE_DIFFUSION, prediction_type=parametrisation, clip_sample=False)
    scheduler.set_timesteps(8)
    policy = bending_policy(parametrisation=parametrisation, schedule=DdpmSchedule(scheduler.alphas_cumprod))
    x, sigmas = noise, []
    for timestep in scheduler.timesteps:
        known = scheduler.alphas_cumprod[timestep]
        rho = ((1 - known) / known).sqrt()
        sigmas.append(rho / (1 + rho))
        level = policy.schedule.level(sigmas[-1].expand(len(x)))
        assert level.timestep.unique().tolist() == [timestep.item()]
        with torch.no_grad():
            x = scheduler.step(policy.network(x, level), timestep, x, eta=0.0, return_dict=False)[0]
    walked = rollout.trajectory(policy, noise, {}, torch.stack([*sigmas, torch.tensor(0.0)]))
    assert_close(walked[-1], x, rtol=1e-4, atol=1e-4)


def test_the_mean_velocity_of_an_euler_rollout_is_noise_minus_x0(bending_policy, noise: torch.Tensor) -> None:
    """Oracle 12, first half: x0 = noise + sum of dsigma v, so the mean of v over sigma is noise - x0."""
    policy, sigmas = bending_policy(), sigma_grid(16, 2.0)
    states = rollout.trajectory(policy, noise, {}, sigmas)
    mean = torch.zeros_like(noise)
    with torch.no_grad():
        for x, sigma, following in zip(states, sigmas, sigmas[1:], strict=False):
            mean += (sigma - following) * policy.network(x, policy.schedule.level(sigma.expand(len(x))))
    assert_close(mean, noise - states[-1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sigma_to", [0.1, 0.5, 0.8, 0.97])
@pytest.mark.parametrize("sigma_in", [0.2, 0.6, 0.95])
def test_a_straight_model_recovers_its_own_picture_at_every_level(
    linear_policy, noise: torch.Tensor, sigma_in: float, sigma_to: float
) -> None:
    """Oracle 12, second half: a constant velocity, with the rollout's own noise mixed back in."""
    policy = linear_policy()
    x0 = rollout.sample(policy, noise, {}, steps=5)
    at, to = (policy.schedule.level(torch.full((3,), sigma)) for sigma in (sigma_in, sigma_to))
    x_in = interpolants.interpolate(x0, noise, at.alpha, at.sigma)
    recovered = interpolants.recover(policy.predict(x_in, at, {}), noise, to.alpha, to.sigma)
    assert_close(recovered, x0, rtol=1e-5, atol=1e-5)


def test_a_bent_model_recovers_better_with_the_rollouts_noise_than_with_fresh_noise(bending_policy, noise) -> None:
    """Why the noise is coupled: with it, only the path's curvature is left of the error."""
    policy = bending_policy()
    x0 = rollout.sample(policy, noise, {}, steps=40)
    fresh = Rng(2, 0, (0, 1, 2)).normal("fresh", SHAPE).double()
    at, to = (policy.schedule.level(torch.full((3,), sigma)) for sigma in (0.7, 0.5))
    errors = []
    for known in (noise, fresh):
        x_in = interpolants.interpolate(x0, known, at.alpha, at.sigma)
        recovered = interpolants.recover(policy.predict(x_in, at, {}), known, to.alpha, to.sigma)
        errors.append((recovered - x0).norm())
    assert errors[0] < 0.7 * errors[1]


def test_a_rollout_carries_no_gradient_and_calls_once_per_step(bending_policy, noise: torch.Tensor) -> None:
    policy = bending_policy()
    states = rollout.trajectory(policy, noise, {}, sigma_grid(6))
    assert (len(policy.rollout), policy.calls, len(states)) == (6, [], 7)
    assert states[0] is noise
    assert not any(state.requires_grad for state in states)


def test_a_picture_does_not_depend_on_its_neighbours(bending_policy, noise: torch.Tensor) -> None:
    together = rollout.sample(bending_policy(), noise, {}, steps=4)
    alone = rollout.sample(bending_policy(), noise[1:2], {}, steps=4)
    assert_close(together[1:2], alone)
