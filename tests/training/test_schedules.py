"""One axis for all families: flow sigma in [0, 1], and what a DDPM family makes of it."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from training.schedules import DdpmSchedule, FlowSchedule, shift_sigma, sigma_grid, unshift_sigma

STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def stable_diffusion(**more) -> tuple[DdpmSchedule, torch.Tensor]:
    known = DDPMScheduler(**STABLE_DIFFUSION, **more).alphas_cumprod
    return DdpmSchedule(known), known


@pytest.mark.parametrize(("entry", "sigma"), [(5, 0.964286), (25, 0.75), (30, 0.666667)])
def test_the_grid_of_50_steps_at_shift_3_has_the_published_levels(entry: int, sigma: float) -> None:
    """Oracle 15: g[5] = 0.964286 (= 27/28), g[25] = 0.75, g[30] = 0.666667."""
    assert sigma_grid(50, 3.0)[entry].item() == pytest.approx(sigma, abs=1e-6)


def test_a_grid_runs_from_noise_to_image() -> None:
    grid = sigma_grid(12, 3.0)
    assert (grid[0], grid[-1], len(grid)) == (1.0, 0.0, 13)
    assert (grid.diff() < 0).all()
    assert_close(sigma_grid(4), torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]))


@given(sigma=st.floats(0, 1), shift=st.floats(0.05, 50))
def test_unshift_inverts_shift(sigma: float, shift: float) -> None:
    value = torch.tensor(sigma, dtype=torch.float64)
    assert_close(unshift_sigma(shift_sigma(value, shift), shift), value, rtol=1e-9, atol=1e-9)


@given(sigma=st.floats(0.001, 0.999), shift=st.floats(0.05, 50))
def test_shift_multiplies_the_noise_to_signal_ratio(sigma: float, shift: float) -> None:
    value = torch.tensor(sigma, dtype=torch.float64)
    shifted = shift_sigma(value, shift)
    assert_close(shifted / (1 - shifted), shift * value / (1 - value), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [4, 25])
def test_a_grid_equals_the_euler_schedulers(steps: int, shift: float) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, steps + 1)[:-1].tolist())  # as the FLUX pipeline asks
    assert_close(sigma_grid(steps, shift), scheduler.sigmas, rtol=0, atol=1e-6)


def test_a_flow_level_is_its_sigma() -> None:
    level = FlowSchedule().level(torch.tensor([0.0, 0.25, 1.0]))
    assert_close(level.alpha, torch.tensor([1.0, 0.75, 0.0]))
    assert_close(level.sigma, level.timestep)
    assert_close(level.rho[:2], torch.tensor([0.0, 1 / 3]))


@pytest.mark.parametrize(("sigma", "timestep"), [(0.667, 562), (0.75, 673), (0.847, 818), (0.90, 914), (0.936, 999)])
def test_a_flow_sigma_has_its_known_timestep_in_stable_diffusion(sigma: float, timestep: int) -> None:
    """Source: table of equivalents for scaled_linear 0.00085 to 0.012, its sigmas rounded to three digits."""
    schedule, _ = stable_diffusion()
    assert abs(schedule.level(torch.tensor([sigma])).timestep.item() - timestep) <= 1


def test_stable_diffusions_noisiest_level_has_the_known_ratio_and_stands_for_all_above() -> None:
    """Source: rho(999) = 14.61, alpha = 0.068; FLUX's 0.964 does not exist there."""
    schedule, _ = stable_diffusion()
    level = schedule.level(torch.tensor([0.964, 1.0]))
    assert level.timestep.tolist() == [999, 999]
    assert level.rho.tolist() == pytest.approx([14.61, 14.61], abs=0.01)
    assert level.alpha.tolist() == pytest.approx([0.068, 0.068], abs=5e-4)


@given(sigma=st.floats(0.001, 1))
def test_a_ddpm_level_is_the_schedulers_own_at_the_timestep_the_network_is_fed(sigma: float) -> None:
    schedule, known = stable_diffusion()
    level = schedule.level(torch.tensor([sigma]))
    assert_close(level.alpha, known[level.timestep].sqrt())
    assert_close(level.sigma, (1 - known[level.timestep]).sqrt())
    assert_close(level.alpha**2 + level.sigma**2, torch.ones(1))


@given(timestep=st.integers(0, 999))
def test_a_ddpm_level_finds_the_timestep_its_ratio_came_from(timestep: int) -> None:
    schedule, known = stable_diffusion()
    rho = ((1 - known[timestep].double()) / known[timestep].double()).sqrt()
    assert schedule.level((rho / (1 + rho)).reshape(1)).timestep.item() == timestep


def test_sigma_zero_is_the_clean_image_in_every_family() -> None:
    for schedule in (FlowSchedule(), stable_diffusion()[0]):
        level = schedule.level(torch.zeros(1))
        assert (level.alpha.item(), level.sigma.item()) == (1.0, 0.0)


def test_pure_noise_is_the_last_timestep_even_of_a_zero_terminal_snr_family() -> None:
    schedule, known = stable_diffusion(rescale_betas_zero_snr=True)
    level = schedule.level(torch.ones(1))
    assert level.timestep.item() == len(known) - 1
    assert level.alpha.item() == known[-1].sqrt().item()


def test_a_zero_terminal_snr_family_divides_by_no_vanishing_alpha_where_methods_train() -> None:
    schedule, known = stable_diffusion(rescale_betas_zero_snr=True)
    level = schedule.level(torch.tensor([0.97, 0.999999]))
    assert known[-1] < 1e-6
    assert level.alpha[0] >= 0.03  # methods train at 0.97 and below
    assert level.alpha[1] > 0  # only sigma = 1 is pure noise
    assert_close(level.alpha, known[level.timestep].sqrt())  # the level of the very timestep that is fed


@pytest.mark.parametrize("steps", [4, 50, 1000])
def test_a_grid_leads_to_the_very_timesteps_it_was_made_of_down_to_pure_noise(steps: int) -> None:
    _, known = stable_diffusion(rescale_betas_zero_snr=True)
    visited = torch.arange(1000 - 1, -1, -1000 // steps)
    schedule = DdpmSchedule(known, lambda _steps: torch.cat([visited, torch.tensor([-1])]))
    grid = schedule.grid(steps)
    assert torch.equal(schedule.level(grid[:-1]).timestep, visited)
    assert grid[-1] == 0


def test_a_grid_of_as_many_steps_as_levels_stays_within_them() -> None:
    """With `steps_offset` the scheduler's first of 1000 timesteps is 1000, one beyond the last level."""
    scheduler = DDIMScheduler(**STABLE_DIFFUSION, steps_offset=1)
    scheduler.set_timesteps(1000)
    visited = torch.cat([scheduler.timesteps, torch.tensor([0])])
    assert visited[0] == 1000
    schedule = DdpmSchedule(scheduler.alphas_cumprod, lambda _steps: visited)
    grid = schedule.grid(1000)
    levels = schedule.level(grid)
    assert len(grid) == 1001
    assert (levels.timestep[0], levels.timestep[-1]) == (999, 0)
    assert (grid.diff() <= 0).all()
