"""The one law of all families, x_t = alpha x0 + sigma noise, and every way a network may speak of it. Pure functions.

Everything is float tensors of one shape [B, ...] beside coefficients alpha, sigma of shape [B] or scalar; each change
of parametrisation has its inverse. Flow matching is alpha = 1 - sigma; a DDPM family has alpha² + sigma² = 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Estimate(NamedTuple):
    """What a network output says of x_t: the clean image `x0` and the `noise` in it, x_t = alpha x0 + sigma noise."""

    x0: Tensor
    noise: Tensor


def expand(coefficient: Tensor, like: Tensor) -> Tensor:
    """A [B] (or scalar) coefficient shaped to multiply `like` [B, ...]."""
    return coefficient.reshape(coefficient.shape + (1,) * (like.ndim - coefficient.ndim))


def interpolate(x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """x_t = alpha x0 + sigma noise."""
    return expand(alpha, x0) * x0 + expand(sigma, x0) * noise


def recover_x0(x_t: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `interpolate` for x0; alpha must not be 0."""
    return (x_t - expand(sigma, x_t) * noise) / expand(alpha, x_t)


def recover_noise(x_t: Tensor, x0: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `interpolate` for the noise; sigma must not be 0."""
    return (x_t - expand(alpha, x_t) * x0) / expand(sigma, x_t)


def from_epsilon(output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Estimate:
    """The network predicts the noise."""
    return Estimate(recover_x0(x_t, output, alpha, sigma), output)


def to_epsilon(estimate: Estimate, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `from_epsilon`."""
    return estimate.noise


def from_v_prediction(output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Estimate:
    """The network predicts v = alpha noise - sigma x0 of a variance-preserving family (arXiv:2202.00512)."""
    a, s = expand(alpha, x_t), expand(sigma, x_t)
    return Estimate(a * x_t - s * output, s * x_t + a * output)


def to_v_prediction(estimate: Estimate, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `from_v_prediction`."""
    return expand(alpha, estimate.x0) * estimate.noise - expand(sigma, estimate.x0) * estimate.x0


def from_velocity(output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Estimate:
    """The network predicts the flow velocity = noise - x0, with alpha = 1 - sigma."""
    return Estimate(x_t - expand(sigma, x_t) * output, x_t + expand(alpha, x_t) * output)


def to_velocity(estimate: Estimate, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `from_velocity`."""
    return estimate.noise - estimate.x0


def from_sample(output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Estimate:
    """The network predicts the clean image."""
    return Estimate(output, recover_noise(x_t, output, alpha, sigma))


def to_sample(estimate: Estimate, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Inverse of `from_sample`."""
    return estimate.x0


FROM_OUTPUT: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Estimate]] = {
    "epsilon": from_epsilon,
    "sample": from_sample,
    "v_prediction": from_v_prediction,
    "velocity": from_velocity,
}
TO_OUTPUT: dict[str, Callable[[Estimate, Tensor, Tensor], Tensor]] = {
    "epsilon": to_epsilon,
    "sample": to_sample,
    "v_prediction": to_v_prediction,
    "velocity": to_velocity,
}


def step(estimate: Estimate, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The deterministic sampler step to the level (alpha, sigma): Euler for flow, DDIM (eta = 0) for DDPM families."""
    return interpolate(estimate.x0, estimate.noise, alpha, sigma)


def recover(estimate: Estimate, known_noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Step to (alpha, sigma), then take the *known* noise out: SRPO's clean image from one network call.

    (alpha x0 + sigma noise - sigma known_noise) / alpha. Equals the true x0 for a perfect estimate, whatever the level;
    otherwise x0 - (rho_in - rho)(noise - known_noise) with rho = sigma / alpha. sigma = 0 is ReFL's one-step x0.
    Source: arXiv:2509.06942, eq. 5 in the form that divides by the target level's alpha; alpha must not be 0.
    """
    return recover_x0(step(estimate, alpha, sigma), known_noise, alpha, sigma)


def recover_at_input_level(
    estimate: Estimate, known_noise: Tensor, alpha_in: Tensor, sigma_in: Tensor, sigma: Tensor
) -> Tensor:
    """arXiv:2509.06942, eq. 5 to the letter: (x_t - (sigma_in - sigma) noise - sigma known_noise) / alpha_in.

    Equals x0 - (sigma_in - sigma) / alpha_in (noise - known_noise): the gain does not grow with the target's sigma.
    """
    x_t = interpolate(estimate.x0, estimate.noise, alpha_in, sigma_in)
    mixed = expand(sigma_in - sigma, x_t) * estimate.noise + expand(sigma, x_t) * known_noise
    return (x_t - mixed) / expand(alpha_in, x_t)
