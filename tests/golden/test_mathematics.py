"""The mathematics of training on 2 x 2 pictures, worked by hand. Each number's working stands beside it."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from toolkit.recipe import Lora
from training import interpolants, measures
from training.adapters import Policy
from training.methods.direct_align import early_weight
from training.methods.srpo import Srpo
from training.schedules import DdpmSchedule, FlowSchedule, shift_sigma


def picture(*rows: list[float]) -> Tensor:
    return torch.tensor([rows], dtype=torch.float64)


def at(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


X0 = picture([1, 2], [3, 4])
NOISE = picture([0, 1], [1, 0])


def test_a_flow_picture_at_sigma_08() -> None:
    """0.2 x0 + 0.8 noise: 0.2, 0.4 + 0.8, 0.6 + 0.8, 0.8."""
    x_t = interpolants.interpolate(X0, NOISE, at(0.2), at(0.8))
    assert_close(x_t, picture([0.2, 1.2], [1.4, 0.8]))


def test_recover_with_a_velocity_that_is_off() -> None:
    """From 0.8 to 0.6 the gain is 0.2 / 0.4 = 0.5; the velocity noise - x0 is off by 0.1 and -0.2 in two places."""
    x_t = picture([0.2, 1.2], [1.4, 0.8])
    velocity = picture([-1 + 0.1, -1], [-2, -4 - 0.2])
    estimate = interpolants.from_velocity(velocity, x_t, at(0.2), at(0.8))
    assert_close(interpolants.recover(estimate, NOISE, at(0.4), at(0.6)), picture([0.95, 2], [3, 4.1]))


def test_the_papers_form_with_the_same_velocity() -> None:
    """Equation 5 to the letter: the gain is the step, 0.2."""
    x_t = picture([0.2, 1.2], [1.4, 0.8])
    velocity = picture([-1 + 0.1, -1], [-2, -4 - 0.2])
    estimate = interpolants.from_velocity(velocity, x_t, at(0.2), at(0.8))
    recovered = interpolants.recover_at_input_level(estimate, NOISE, at(0.2), at(0.8), at(0.6))
    assert_close(recovered, picture([0.98, 2], [3, 4.04]))


def test_recover_with_a_noise_prediction_that_is_off() -> None:
    """From (alpha, sigma) = (0.6, 0.8) to (0.8, 0.6): rho falls from 4/3 to 3/4, a gain of 7/12. 7/12 · 0.12 = 0.07."""
    x_t = interpolants.interpolate(X0, NOISE, at(0.6), at(0.8))
    assert_close(x_t, picture([0.6, 2.0], [2.6, 2.4]))
    estimate = interpolants.from_epsilon(NOISE + picture([0.12, 0], [0, -0.24]), x_t, at(0.6), at(0.8))
    assert_close(interpolants.recover(estimate, NOISE, at(0.8), at(0.6)), picture([0.93, 2], [3, 4.14]))


def test_recover_with_a_v_prediction_that_is_off() -> None:
    """v = 0.6 noise - 0.8 x0; the error counts alpha = 0.6 of itself: 7/12 · 0.6 · 0.2 = 0.07."""
    x_t = picture([0.6, 2.0], [2.6, 2.4])
    v = picture([-0.8, -1.0], [-1.8, -3.2])
    assert_close(interpolants.to_v_prediction(interpolants.Estimate(X0, NOISE), at(0.6), at(0.8)), v)
    estimate = interpolants.from_v_prediction(v + picture([0.2, 0], [0, -0.4]), x_t, at(0.6), at(0.8))
    assert_close(interpolants.recover(estimate, NOISE, at(0.8), at(0.6)), picture([0.93, 2], [3, 4.14]))


def test_an_inversion_step_overshoots_where_a_denoise_step_falls_short() -> None:
    """From 0.6 up to 0.8: gain (0.6 - 0.8) / 0.2 = -1, so an error of 0.1 is added."""
    x_t = interpolants.interpolate(X0, NOISE, at(0.4), at(0.6))
    estimate = interpolants.from_velocity(NOISE - X0 + 0.1, x_t, at(0.4), at(0.6))
    assert_close(interpolants.recover(estimate, NOISE, at(0.2), at(0.8)), X0 + 0.1)


def test_two_euler_steps() -> None:
    """v = x: 1 becomes 1 - 0.5 · 1 = 0.5, then 0.5 - 0.5 · 0.5 = 0.25."""
    x, levels = torch.ones(1, 2, 2).double(), [1.0, 0.5, 0.0]
    for sigma, following in itertools.pairwise(levels):
        estimate = interpolants.from_velocity(x, x, at(1 - sigma), at(sigma))
        x = interpolants.step(estimate, at(1 - following), at(following))
    assert_close(x, torch.full((1, 2, 2), 0.25).double())


@pytest.mark.parametrize(("sigma", "shifted"), [(0.5, 0.75), (0.9, 2.7 / 2.8), (0.4, 1.2 / 1.8), (1.0, 1.0)])
def test_shift_3(sigma: float, shifted: float) -> None:
    """3 s / (1 + 2 s)."""
    assert shift_sigma(at(sigma), 3.0).item() == pytest.approx(shifted)


def test_a_ddpm_level_of_three_timesteps() -> None:
    """alpha² of 0.9, 0.5, 0.1: rho of 1/3, 1, 3; flow sigma 0.7 is rho 7/3, nearest to 3 by factor (1.29 < 2.33)."""
    level = DdpmSchedule(torch.tensor([0.9, 0.5, 0.1])).level(torch.tensor([0.2, 0.5, 0.7]))
    assert level.timestep.tolist() == [0, 1, 2]
    assert_close(level.rho, torch.tensor([1 / 3, 1.0, 3.0]))


def test_srpo_in_the_middle_of_its_grid() -> None:
    """m = 500 of 1000: L[i] = 27/28 - (3/14) i / 999; target L[500], denoise from L[400], invert from L[600].

    k_pos = 0.1 + 0.15 · 500/999 = 0.175075; k_inv = 0.3 - 0.29 · 400/999 = 0.183884.
    """
    denoise, inversion = Srpo().draw_branches(torch.tensor([500]))
    assert denoise.target.item() == pytest.approx(0.857036, abs=1e-6)
    assert denoise.sigma_in.item() == pytest.approx(0.878486, abs=1e-6)
    assert inversion.sigma_in.item() == pytest.approx(0.835586, abs=1e-6)
    assert_close(denoise.weights, torch.tensor([[1.175075, -1.0]]), rtol=0, atol=1e-6)
    assert_close(inversion.weights, torch.tensor([[-1.0, 1.183884]]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("share", "weight"), [(0.5, 0.75), (0.1, 0.25), (0.7, 0.875)])
def test_direct_aligns_early_weight(share: float, weight: float) -> None:
    """3 u / (1 + 2 u): 1.5/2, 0.3/1.2, 2.1/2.4."""
    assert early_weight(torch.tensor(share)).item() == pytest.approx(weight)


def test_a_rank_one_lora_adds_b_times_a() -> None:
    """B A = (3, 4)ᵀ (1, 2) = 3 6 / 4 8; alpha = rank, so nothing scales it; at half strength half of it."""
    network = nn.Sequential(nn.Linear(2, 2, bias=False))
    base = SimpleNamespace(
        network=network, schedule=FlowSchedule(), latent_shape=(1, 1, 2), lora_layers={"all": ["0"]}, to=lambda _: base
    )
    policy = Policy(base, Lora(rank=1, layers="all"))
    before = network[0].base_layer.weight.detach().clone()
    policy.load_adapter(
        {"0.lora_A.weight": torch.tensor([[1.0, 2.0]]), "0.lora_B.weight": torch.tensor([[3.0], [4.0]])}
    )
    delta = torch.tensor([[3.0, 6.0], [4.0, 8.0]])
    with policy.folded():
        assert_close(network[0].base_layer.weight - before, delta)
    with policy.at_strength(0.5), policy.folded():
        assert_close(network[0].base_layer.weight - before, delta / 2)


def test_statistics_of_a_2_by_2_picture() -> None:
    """Red, grey, black and (0.2, 0.6, 0.4): saturation (1 + 0 + 0 + 0.4) / 4, luma (0.2126 + 0.5 + 0 + 0.50052) / 4."""
    pixels = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5], [0, 0, 0], [0.2, 0.6, 0.4]])
    image = pixels.T.reshape(1, 3, 2, 2)
    assert measures.saturation(image).item() == pytest.approx(0.35)
    assert measures.brightness(image).item() == pytest.approx((0.2126 + 0.5 + 0.04252 + 0.42912 + 0.02888) / 4)
    assert measures.clipped(image).item() == pytest.approx(0.5)
