"""Sampling with noise in the steps: held against the formulas of the papers, torch's distributions and diffusers."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from training import interpolants, rollout
from training.interpolants import Estimate
from training.randomness import Rng
from training.schedules import DdpmSchedule, FlowSchedule, Level, Schedule, sigma_grid
from training.stochastic import (
    STDS,
    Transition,
    ddim_std,
    flow_sde_std,
    flow_sigma,
    kl,
    log_ratio,
    stochastic_trajectory,
    transition,
)  # fmt: skip

SHAPE = (3, 2, 2)
SDES = ("dance_sde", "flow_sde")
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()  # Stable Diffusion's
SCHEDULES = {"flow": FlowSchedule(), "ddpm": DdpmSchedule((1 - BETAS).cumprod(0))}
seeds = st.integers(0, 2**31)


def draw(seed: int, count: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(count, 2, *SHAPE, generator=generator, dtype=torch.float64))


def two_levels(family: str, high: float = 0.7, low: float = 0.5) -> tuple[Level, Level]:
    schedule: Schedule = SCHEDULES[family]
    return tuple(schedule.level(torch.tensor([sigma, sigma], dtype=torch.float64)) for sigma in (high, low))


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@given(seed=seeds, high=st.floats(0.1, 0.99), share=st.floats(0.05, 0.95), a=st.floats(0.1, 1.5))
def test_flow_sde_is_the_step_that_flow_grpo_writes(seed: int, high: float, share: float, a: float) -> None:
    """Source: arXiv:2505.05470, x(1 - g²d/(2s)) - v(1 + g²(1 - s)/(2s))d with g = a √(s / (1 - s))."""
    x, v = draw(seed)
    here, there = two_levels("flow", high, high * share)
    s, d = high, high * (1 - share)
    g2 = a**2 * s / (1 - s)
    estimate = interpolants.from_velocity(v, x, here.alpha, here.sigma)
    step = transition(estimate, here, there, "flow_sde", scalar(a))
    assert_close(step.mean, x * (1 - g2 * d / (2 * s)) - v * (1 + g2 * (1 - s) / (2 * s)) * d)
    assert_close(step.std, scalar(math.sqrt(g2 * d)).expand(2))


def test_pure_noise_borrows_the_next_level_in_the_denominator_alone() -> None:
    std = flow_sde_std(scalar(1.0), scalar(0.9), scalar(0.7))
    assert std.item() == pytest.approx(0.7 * math.sqrt(1.0 / (1 - 0.9) * 0.1))


@given(seed=seeds, high=st.floats(0.1, 0.99), share=st.floats(0.05, 0.95), eta=st.floats(0.1, 1.0))
def test_dance_sde_is_the_ode_step_with_half_g_squared_score(seed: int, high: float, share: float, eta: float) -> None:
    """Source: arXiv:2505.07818: x - d v + ½ η² d score with the score -noise / s."""
    x, v = draw(seed)
    here, there = two_levels("flow", high, high * share)
    d = high * (1 - share)
    estimate = interpolants.from_velocity(v, x, here.alpha, here.sigma)
    step = transition(estimate, here, there, "dance_sde", scalar(eta))
    assert_close(step.mean, x - d * v - 0.5 * eta**2 * d * estimate.noise / high)
    assert_close(step.std, scalar(eta * math.sqrt(d)).expand(2))


@pytest.mark.parametrize("family", SCHEDULES)
@given(seed=seeds, a=st.floats(0.0, 0.9))
def test_cps_keeps_the_noise_power_of_the_next_level_exactly(family: str, seed: int, a: float) -> None:
    """Source: arXiv:2509.05952. The new noise and what is kept of the old one add up to sigma'², whatever a."""
    x0, noise = draw(seed)
    here, there = two_levels(family)
    step = transition(Estimate(x0, noise), here, there, "cps", scalar(a))
    assert_close(step.std, there.sigma * math.sin(a * math.pi / 2))
    kept = there.sigma * math.cos(a * math.pi / 2)
    tolerance = {"rtol": 1e-5, "atol": 1e-5}  # a DDPM family's levels are float32
    assert_close(step.mean, interpolants.interpolate(x0, noise, there.alpha, kept), **tolerance)


@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize("steps", [10, 50])
def test_ddim_equals_diffusers_on_a_noise_predicting_family(eta: float, steps: int) -> None:
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, set_alpha_to_one=True
    )
    scheduler.set_timesteps(steps)
    known = scheduler.alphas_cumprod.double()
    x, epsilon, fresh = draw(4, 3)
    for timestep in scheduler.timesteps.tolist():
        following = timestep - 1000 // steps
        before, after = known[timestep], known[following] if following >= 0 else scalar(1.0)
        here, there = (Level(k.sqrt().expand(2), (1 - k).sqrt().expand(2), torch.zeros(2)) for k in (before, after))
        estimate = interpolants.from_epsilon(epsilon, x, here.alpha, here.sigma)
        mine = transition(estimate, here, there, "ddim", scalar(eta))
        theirs = scheduler.step(epsilon, timestep, x, eta=eta, variance_noise=fresh).prev_sample
        assert_close(mine.mean + interpolants.expand(mine.std, x) * fresh, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dynamics", STDS)
@pytest.mark.parametrize("family", SCHEDULES)
@given(seed=seeds, high=st.floats(0.3, 0.9), share=st.floats(0.1, 0.9))
def test_without_noise_every_step_is_the_ode_step_bit_for_bit(
    dynamics, family: str, seed: int, high: float, share: float
) -> None:
    x0, noise = (tensor.float() for tensor in draw(seed))
    here, there = (SCHEDULES[family].level(torch.tensor([s, s])) for s in (high, high * share))
    step = transition(Estimate(x0, noise), here, there, dynamics, torch.zeros(2))
    assert_close(step.mean, interpolants.step(Estimate(x0, noise), there.alpha, there.sigma), rtol=2e-7, atol=1e-7)
    if dynamics in SDES:
        assert torch.equal(step.mean, interpolants.step(Estimate(x0, noise), there.alpha, there.sigma))
    assert step.std.abs().max() == 0


@pytest.mark.parametrize("dynamics", STDS)
@given(seed=seeds, stretch=st.floats(0.2, 5.0))
def test_a_family_that_scales_its_states_takes_the_same_steps_scaled(dynamics, seed: int, stretch: float) -> None:
    """What lets one formula serve all schedules: multiply alpha and sigma by c(t), and x is multiplied by it."""
    x0, noise = draw(seed)
    here, there = two_levels("flow")
    wide = Level(there.alpha * stretch, there.sigma * stretch, there.timestep)
    narrow = Level(here.alpha / stretch, here.sigma / stretch, here.timestep)
    one = transition(Estimate(x0, noise), here, there, dynamics, scalar(0.6))
    other = transition(Estimate(x0, noise), narrow, wide, dynamics, scalar(0.6))
    assert_close(other.mean, stretch * one.mean)
    assert_close(other.std, stretch * one.std)


@pytest.mark.parametrize("dynamics", ["cps", "ddim"])
def test_the_last_step_of_the_power_keeping_dynamics_carries_no_noise(dynamics) -> None:
    assert STDS[dynamics](scalar(0.2), scalar(0.0), scalar(0.9)).item() == 0


def final_std(dynamics, noise_level: float, steps: int, *, decode_last: bool = False) -> float:
    """The reference experiment without sampling: x0 ~ N(0, 0.5²) with its exact velocity, shift 3, from N(0, 1).

    Every step is linear in x, so the variance can be carried along exactly.
    """
    variance, one = 1.0, torch.ones(1, 1, dtype=torch.float64)
    grid = sigma_grid(steps, 3.0).double()
    for number in range(steps):
        s = grid[number]
        here, there = (Level(1 - s, s, s) for s in grid[number : number + 2])
        v = (s - (1 - s) * 0.25) / ((1 - s) ** 2 * 0.25 + s**2) * one
        estimate = interpolants.from_velocity(v, one, here.alpha, here.sigma)
        step = transition(estimate, here, there, dynamics, scalar(noise_level))
        if decode_last and number == steps - 1:
            step = Transition(estimate.x0, scalar(0.0))
        variance = step.mean.item() ** 2 * variance + step.std.item() ** 2
    return math.sqrt(variance)


@pytest.mark.parametrize(
    ("dynamics", "noise_level", "expected"),
    [
        ("dance_sde", 0.0, {10: 0.369, 50: 0.472}),
        ("flow_sde", 0.7, {10: 0.424, 50: 0.484, 200: 0.497}),
        ("dance_sde", 0.3, {10: 0.386, 50: 0.476}),
        ("dance_sde", 1.0, {10: 0.522, 50: 0.497, 200: 0.499}),
        ("cps", 0.8, {10: 0.314, 50: 0.376}),
    ],
)
def test_the_sdes_keep_the_marginals_and_cps_contracts(
    dynamics, noise_level: float, expected: dict[int, float]
) -> None:
    """Golden: a simulation of the papers' formulas with 4e5 samples, hence the tolerance. The target is 0.5."""
    for steps, golden in expected.items():
        assert final_std(dynamics, noise_level, steps) == pytest.approx(golden, abs=3e-3), steps


def test_decoding_the_last_estimate_takes_the_residual_noise_away() -> None:
    assert final_std("dance_sde", 1.0, 10, decode_last=True) == pytest.approx(0.458, abs=2e-3)


def transitions(seed: int, shift: float = 0.3) -> tuple[Tensor, Transition, Transition]:
    mean, other, state = draw(seed, 3)
    std = torch.tensor([0.2, 1.3], dtype=torch.float64)
    return mean + interpolants.expand(std, mean) * state, Transition(mean + shift * other, std), Transition(mean, std)


@given(seed=seeds)
def test_the_log_ratio_is_that_of_torchs_normal_distributions(seed: int) -> None:
    state, now, old = transitions(seed)
    for first, second in ((now, old), (old, now)):
        normals = [Normal(one.mean, interpolants.expand(one.std, state)) for one in (first, second)]
        densities = [normal.log_prob(state).flatten(1).mean(dim=1) for normal in normals]
        assert_close(log_ratio(state, first, second), densities[0] - densities[1])


@given(seed=seeds)
def test_the_divergence_is_torchs(seed: int) -> None:
    state, now, old = transitions(seed)
    normals = [Normal(one.mean, interpolants.expand(one.std, state)) for one in (now, old)]
    assert_close(kl(now, old), kl_divergence(*normals).flatten(1).mean(dim=1))


def test_equal_means_give_a_log_ratio_of_exactly_zero() -> None:
    state, now, _ = transitions(5)
    single = Transition(now.mean.float(), now.std.float())
    assert log_ratio(state.float(), single, single).abs().max() == 0


@pytest.mark.parametrize(("k", "measured"), [(0.01, -5.3e-5), (0.03, -4.6e-4)])
def test_a_shifted_mean_biases_the_log_ratio_and_the_divergence_is_the_bias(k: float, measured: float) -> None:
    """E[log ratio] = -k²/2 for a shift by k std; adding the divergence back restores mean 0 (arXiv:2510.22319)."""
    generator = torch.Generator().manual_seed(2)
    fresh = torch.randn(64, 65536, generator=generator, dtype=torch.float64)
    std = torch.full((64,), 0.3, dtype=torch.float64)
    old, now = Transition(torch.zeros_like(fresh), std), Transition(torch.full_like(fresh, k * 0.3), std)
    found = log_ratio(0.3 * fresh, now, old)
    assert found.mean().item() == pytest.approx(-(k**2) / 2, rel=0.2)
    assert found.mean().item() == pytest.approx(measured, rel=0.25)
    assert (found + kl(now, old)).mean().abs().item() < 0.1 * k**2 / 2


def test_a_walk_without_noise_is_the_samplers_own(bending_policy) -> None:
    policy, rng = bending_policy(), Rng(1, 0, (0, 1))
    noise, grid = rng.normal("noise", SHAPE).double(), sigma_grid(6, 3.0)
    walk = stochastic_trajectory(
        policy, noise, {}, grid, rng, dynamics="flow_sde", noise_levels=torch.zeros(2, 6), guidance_scale=1.5
    )
    for mine, theirs in zip(walk.states, rollout.trajectory(policy, noise, {}, grid, 1.5), strict=True):
        assert torch.equal(mine, theirs)
    assert set(policy.rollout) == {1.5}


@pytest.mark.parametrize("dynamics", STDS)
def test_a_walk_draws_each_state_from_its_transition_with_the_samples_own_noise(bending_policy, dynamics) -> None:
    policy = bending_policy()
    noise_levels = torch.tensor([[0.0, 0.5, 0.5, 0.0], [0.5, 0.5, 0.0, 0.0]])
    both, second = Rng(1, 3, (4, 9)), Rng(1, 3, (9,))
    start = both.normal("noise", SHAPE).double()
    walk, alone = (
        stochastic_trajectory(policy, x, {}, sigma_grid(4), rng, dynamics=dynamics, noise_levels=levels)
        for x, rng, levels in ((start, both, noise_levels), (start[1:], second, noise_levels[1:]))
    )
    assert torch.equal(walk.states[-1][1], alone.states[-1][0])
    for number, step in enumerate(walk.steps):
        fresh = both.normal(f"step.{number}", SHAPE).double()
        assert_close(walk.states[number + 1], step.mean + interpolants.expand(step.std, fresh) * fresh)
        assert torch.equal(step.std > 0, noise_levels[:, number] > 0)


def test_on_the_flow_axis_a_ddpm_level_lies_where_its_noise_to_signal_ratio_does() -> None:
    level = SCHEDULES["ddpm"].level(torch.tensor([0.2, 0.5, 0.8]))
    assert_close(flow_sigma(level), torch.tensor([0.2, 0.5, 0.8]), rtol=0, atol=3e-3)
    assert_close(flow_sigma(level) / (1 - flow_sigma(level)), level.rho)


def test_ddim_at_eta_one_is_the_posterior_of_the_forward_process() -> None:
    """Its variance is that of q(x_s' | x_s, x0) in the interpolant: 1 / (1/sigma'² + (a/a')²/forward variance)."""
    s, n = 0.7, 0.5
    carried = ((1 - s) / (1 - n)) ** 2
    posterior = 1 / (1 / n**2 + carried / (s**2 - carried * n**2))
    assert ddim_std(scalar(s), scalar(n), scalar(1.0)).item() ** 2 == pytest.approx(posterior)
