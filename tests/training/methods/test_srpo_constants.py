"""SRPO's levels, discounts and weights against the numbers of the published scripts."""

from __future__ import annotations

import pytest
import torch

from training.methods.srpo import Srpo


def test_the_defaults_are_the_published_flux_and_hps_constants() -> None:
    """Oracle 15: sigma 27/28 to 0.75, kappa = 100, a step of 0.0214500."""
    method = Srpo()
    (denoise, inversion) = method.draw_branches(torch.tensor([500]))
    assert method.step_in_grid() == 100
    assert method.sigma_high == pytest.approx(0.964286, abs=1e-6)
    assert (denoise.sigma_in - denoise.target).item() == pytest.approx(0.0214500, abs=2e-7)
    assert (inversion.target - inversion.sigma_in).item() == pytest.approx(0.0214500, abs=2e-7)
    assert (method.rollout_steps, method.shift, method.guidance_scale, method.margin) == (25, 3.0, 3.5, 0.7)


def test_the_pickscore_recipe_steps_by_its_published_width() -> None:
    """Oracle 15: indices 5 to 30 of the shifted grid, so sigma 27/28 to 2/3."""
    (denoise, _) = Srpo(sigma_low=2 / 3).draw_branches(torch.tensor([500]))
    assert (denoise.sigma_in - denoise.target).item() == pytest.approx(0.0297917, abs=2e-7)


@pytest.mark.parametrize(("share", "levels", "step"), [(0.9, 1000, 100), (0.6, 100, 41)])
def test_the_step_counts_grid_entries_as_the_released_scripts_do(share: float, levels: int, step: int) -> None:
    """Oracle 15: int((1 - 0.9) 1000) + 1 = 100, for the float product truncates to 99."""
    assert Srpo(known_share=share, levels=levels).step_in_grid() == step


@pytest.mark.parametrize(("m", "gain"), [(100, 0.094), (500, 0.150), (900, 0.375), (995, 0.029)])
def test_the_gain_follows_the_published_schedule(m: int, gain: float) -> None:
    """Source: gains of the FLUX + HPS script at m of 1000, (sigma_in - sigma) / (1 - sigma)."""
    (denoise, _) = Srpo().draw_branches(torch.tensor([m]))
    assert ((denoise.sigma_in - denoise.target) / (1 - denoise.target)).item() == pytest.approx(gain, abs=6e-4)


def test_both_branches_recover_at_one_level_inside_the_trained_range() -> None:
    method = Srpo()
    m = torch.arange(5, 996)
    denoise, inversion = method.draw_branches(m)
    assert torch.equal(denoise.target, inversion.target)
    assert (denoise.sigma_in >= denoise.target).all()
    assert (inversion.sigma_in <= inversion.target).all()
    for levels in (denoise.sigma_in, denoise.target, inversion.sigma_in):
        assert levels.min() >= method.sigma_low - 1e-6
        assert levels.max() <= method.sigma_high + 1e-6


def test_the_discounts_are_labelled_by_noise_early_is_noisy() -> None:
    late, early = torch.tensor([5]), torch.tensor([995])
    method = Srpo()
    assert method.draw_branches(early)[0].target > method.draw_branches(late)[0].target
    assert method.draw_branches(late)[0].weights[0, 0].item() == pytest.approx(1.1, abs=2e-3)
    assert method.draw_branches(early)[0].weights[0, 0].item() == pytest.approx(1.25, abs=2e-3)
    assert method.draw_branches(late)[1].weights[0, 1].item() == pytest.approx(1.3, abs=2e-3)
    assert method.draw_branches(early)[1].weights[0, 1].item() == pytest.approx(1.01261, abs=1e-4)  # entry 995 - 5


def test_inversion_off_leaves_the_denoise_branch_alone() -> None:
    assert [branch.name for branch in Srpo(inversion=0).draw_branches(torch.tensor([500]))] == ["denoise"]


def test_the_trained_range_must_have_a_lower_and_an_upper_end() -> None:
    with pytest.raises(ValueError, match="sigma_low < sigma_high"):
        Srpo(sigma_low=0.9, sigma_high=0.5)


@pytest.mark.parametrize(
    ("form", "k", "weights"),
    [
        ("code", 0.0, [1.0, -1.0]),  # pure relative preference
        ("code", 1.0, [2.0, -1.0]),
        ("paper", 2.0, [2.0, -1.0]),
        ("paper", 1.0, [1.0, 0.0]),  # the positive word alone
        ("paper", 0.0, [0.0, 1.0]),  # the negative word alone
    ],
)
def test_equation_10_and_the_released_code_weigh_the_words_as_published(form: str, k: float, weights: list) -> None:
    """Oracle 9: eq10(2) = code(1), eq10(1) = SGP(pos), eq10(0) = SGP(neg); also eq10(k) is not code(k)."""
    names = ("positive_early", "positive_late", "inversion_early", "inversion_late")
    flat = dict.fromkeys(names, k)
    denoise, inversion = Srpo(form=form, **flat).draw_branches(torch.tensor([500]))
    assert denoise.weights.tolist() == [weights]
    assert inversion.weights.tolist() == [weights[::-1]]
