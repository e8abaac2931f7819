"""x_t = alpha x0 + sigma noise, every way a network may speak of it, and the recovery that SRPO rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from training import interpolants
from training.interpolants import FROM_OUTPUT, TO_OUTPUT, Estimate

SHAPE = (2, 4, 3, 3)
PARAMETRISATIONS = sorted(FROM_OUTPUT)
DIRECTIONS = ("denoise", "inversion")
seeds = st.integers(0, 2**31)
flow_sigmas = st.floats(0.02, 0.97)


@dataclass(frozen=True)
class Point:
    """A noise level as a family writes it."""

    alpha: Tensor
    sigma: Tensor

    @property
    def rho(self) -> Tensor:
        return self.sigma / self.alpha


def level(parametrisation: str, sigma: float) -> Point:
    """The level with noise-to-signal ratio sigma / (1 - sigma): flow for velocities, variance preserving otherwise."""
    rho = sigma / (1 - sigma)
    alpha = 1 - sigma if parametrisation == "velocity" else 1 / math.sqrt(1 + rho**2)
    return Point(torch.full((2,), alpha, dtype=torch.float64), torch.full((2,), alpha * rho, dtype=torch.float64))


def two_tensors(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, *SHAPE, generator=generator, dtype=torch.float64).unbind())


def estimate_with_error(parametrisation: str, x_t: Tensor, truth: Estimate, at: Point, error: Tensor) -> Estimate:
    output = TO_OUTPUT[parametrisation](truth, at.alpha, at.sigma) + error
    return FROM_OUTPUT[parametrisation](output, x_t, at.alpha, at.sigma)


@given(seed=seeds, sigma=flow_sigmas)
def test_recover_x0_and_recover_noise_invert_interpolate(seed: int, sigma: float) -> None:
    x0, noise = two_tensors(seed)
    at = level("velocity", sigma)
    x_t = interpolants.interpolate(x0, noise, at.alpha, at.sigma)
    assert_close(interpolants.recover_x0(x_t, noise, at.alpha, at.sigma), x0)
    assert_close(interpolants.recover_noise(x_t, x0, at.alpha, at.sigma), noise)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@given(seed=seeds, sigma=flow_sigmas)
def test_every_parametrisation_returns_from_its_inverse(parametrisation: str, seed: int, sigma: float) -> None:
    output, x_t = two_tensors(seed)
    at = level(parametrisation, sigma)
    estimate = FROM_OUTPUT[parametrisation](output, x_t, at.alpha, at.sigma)
    assert_close(TO_OUTPUT[parametrisation](estimate, at.alpha, at.sigma), output)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@given(seed=seeds, sigma=flow_sigmas)
def test_every_estimate_is_consistent_with_its_input(parametrisation: str, seed: int, sigma: float) -> None:
    output, x_t = two_tensors(seed)
    at = level(parametrisation, sigma)
    estimate = FROM_OUTPUT[parametrisation](output, x_t, at.alpha, at.sigma)
    assert_close(interpolants.interpolate(*estimate, at.alpha, at.sigma), x_t)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@given(seed=seeds, one=flow_sigmas, other=flow_sigmas)
def test_recover_returns_x0_for_a_perfect_prediction(
    parametrisation: str, direction: str, seed: int, one: float, other: float
) -> None:
    """Oracle 1, in float64: 4 parametrisations, both directions, targets up to sigma 0.97."""
    x0, noise = two_tensors(seed)
    low, high = level(parametrisation, min(one, other)), level(parametrisation, max(one, other))
    at, to = (high, low) if direction == "denoise" else (low, high)
    x_in = interpolants.interpolate(x0, noise, at.alpha, at.sigma)
    output = TO_OUTPUT[parametrisation](Estimate(x0, noise), at.alpha, at.sigma)
    estimate = FROM_OUTPUT[parametrisation](output, x_in, at.alpha, at.sigma)
    assert_close(interpolants.recover(estimate, noise, to.alpha, to.sigma), x0, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_recover_returns_x0_for_a_perfect_prediction_in_float32(parametrisation: str) -> None:
    """Oracle 1 at the precision of training: 1e-4 relative, up to sigma 0.97."""
    x0, noise = (tensor.float() for tensor in two_tensors(1))
    for one, other in ((0.5, 0.97), (0.97, 0.9), (0.3, 0.2), (0.05, 0.6)):
        at, to = level(parametrisation, one), level(parametrisation, other)
        alpha, sigma = at.alpha.float(), at.sigma.float()
        x_in = interpolants.interpolate(x0, noise, alpha, sigma)
        output = TO_OUTPUT[parametrisation](Estimate(x0, noise), alpha, sigma)
        estimate = FROM_OUTPUT[parametrisation](output, x_in, alpha, sigma)
        recovered = interpolants.recover(estimate, noise, to.alpha.float(), to.sigma.float())
        assert (recovered - x0).norm() <= 1e-4 * x0.norm()


def noise_error(parametrisation: str, at: Point, error: Tensor) -> Tensor:
    """What an output that is off by `error` means for the noise: the delta column of the parametrisations."""
    factor = {
        "epsilon": torch.ones_like(at.alpha),
        "v_prediction": at.alpha,
        "velocity": 1 - at.sigma,
        "sample": -at.alpha / at.sigma,
    }[parametrisation]
    return interpolants.expand(factor, error) * error


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@given(seed=seeds, sigma_in=flow_sigmas, sigma_to=flow_sigmas)
def test_recover_is_off_by_the_gain_times_the_noise_error(
    parametrisation: str, seed: int, sigma_in: float, sigma_to: float
) -> None:
    """Oracle 2: recover - x0 = -(rho_in - rho_to) delta(e), whatever the network speaks of."""
    x0, noise = two_tensors(seed)
    error = two_tensors(seed + 1)[0]
    at, to = level(parametrisation, sigma_in), level(parametrisation, sigma_to)
    x_in = interpolants.interpolate(x0, noise, at.alpha, at.sigma)
    estimate = estimate_with_error(parametrisation, x_in, Estimate(x0, noise), at, error)
    gain = interpolants.expand(at.rho - to.rho, x0)
    recovered = interpolants.recover(estimate, noise, to.alpha, to.sigma)
    assert_close(recovered - x0, -gain * noise_error(parametrisation, at, error), rtol=1e-9, atol=1e-9)
    assert_close(recovered, x0 - gain * (estimate.noise - noise), rtol=1e-9, atol=1e-9)


@given(seed=seeds, sigma_in=flow_sigmas, sigma_to=flow_sigmas)
def test_the_gain_of_a_velocity_error_is_the_step_over_the_targets_alpha(
    seed: int, sigma_in: float, sigma_to: float
) -> None:
    """Oracle 2 as flow models see it: recover = x0 - (sigma_in - sigma_to) / (1 - sigma_to) e."""
    x0, noise = two_tensors(seed)
    error = two_tensors(seed + 1)[0]
    at, to = level("velocity", sigma_in), level("velocity", sigma_to)
    x_in = interpolants.interpolate(x0, noise, at.alpha, at.sigma)
    estimate = estimate_with_error("velocity", x_in, Estimate(x0, noise), at, error)
    recovered = interpolants.recover(estimate, noise, to.alpha, to.sigma)
    assert_close(recovered, x0 - (sigma_in - sigma_to) / (1 - sigma_to) * error, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@given(seed=seeds, sigma_in=flow_sigmas)
def test_recover_at_sigma_zero_is_refls_estimate_and_forgets_the_known_noise(
    parametrisation: str, seed: int, sigma_in: float
) -> None:
    """Oracle 3: exactly the one-step x0; the known noise has no influence at all."""
    x_in, output = two_tensors(seed)
    noise, other_noise = two_tensors(seed + 1)
    at = level(parametrisation, sigma_in)
    estimate = FROM_OUTPUT[parametrisation](output, x_in, at.alpha, at.sigma)
    one, zero = torch.ones(2).double(), torch.zeros(2).double()
    recovered = interpolants.recover(estimate, noise, one, zero)
    assert torch.equal(recovered, estimate.x0)
    assert torch.equal(recovered, interpolants.recover(estimate, other_noise, one, zero))


@pytest.mark.parametrize("parametrisation", ["epsilon", "velocity"])
@given(seed=seeds, sigma_in=flow_sigmas, sigma_to=flow_sigmas)
def test_the_papers_form_gains_the_step_over_the_inputs_alpha(
    parametrisation: str, seed: int, sigma_in: float, sigma_to: float
) -> None:
    """Equation 5 to the letter: x0 - (sigma_in - sigma_to) / alpha_in (noise error); on a flow the gain is the step."""
    x0, noise = two_tensors(seed)
    error = two_tensors(seed + 1)[0]
    at, to = level(parametrisation, sigma_in), level(parametrisation, sigma_to)
    x_in = interpolants.interpolate(x0, noise, at.alpha, at.sigma)
    estimate = estimate_with_error(parametrisation, x_in, Estimate(x0, noise), at, error)
    recovered = interpolants.recover_at_input_level(estimate, noise, at.alpha, at.sigma, to.sigma)
    gain = interpolants.expand((at.sigma - to.sigma) / at.alpha, x0)
    assert_close(recovered, x0 - gain * (estimate.noise - noise), rtol=1e-9, atol=1e-9)
    if parametrisation == "velocity":
        assert_close(recovered, x0 - (sigma_in - sigma_to) * error, rtol=1e-9, atol=1e-9)


def test_the_two_forms_agree_at_sigma_zero_and_where_there_is_no_step() -> None:
    x_in, output = two_tensors(2)
    noise = two_tensors(3)[0]
    at = level("velocity", 0.8)
    estimate = interpolants.from_velocity(output, x_in, at.alpha, at.sigma)
    for to in (Point(torch.ones(2).double(), torch.zeros(2).double()), at):
        code = interpolants.recover(estimate, noise, to.alpha, to.sigma)
        assert_close(interpolants.recover_at_input_level(estimate, noise, at.alpha, at.sigma, to.sigma), code)


@given(seed=seeds, sigma_in=flow_sigmas, sigma_to=flow_sigmas)
def test_the_sampler_step_of_a_flow_is_eulers(seed: int, sigma_in: float, sigma_to: float) -> None:
    x_t, velocity = two_tensors(seed)
    at, to = level("velocity", sigma_in), level("velocity", sigma_to)
    estimate = interpolants.from_velocity(velocity, x_t, at.alpha, at.sigma)
    assert_close(interpolants.step(estimate, to.alpha, to.sigma), x_t + (sigma_to - sigma_in) * velocity)


def test_a_scalar_and_a_batched_coefficient_mean_the_same() -> None:
    x0, noise = two_tensors(4)
    scalar = interpolants.interpolate(x0, noise, torch.tensor(0.25).double(), torch.tensor(0.75).double())
    at = level("velocity", 0.75)
    assert_close(interpolants.interpolate(x0, noise, at.alpha, at.sigma), scalar)
