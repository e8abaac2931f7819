"""The weight of a sampler's step: its closed form against sampling, published schedules, and its two ends."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from training.methods._preference import Sides
from training.methods._step_weights import StepWeighted, effective_share
from training.randomness import Rng
from training.schedules import DdpmSchedule

from .conftest import BETAS, FAMILIES, drawn_at, pair_batch, side, sides_of

ALPHAS = (1 - BETAS).cumprod(0)
SNR = ALPHAS / (1 - ALPHAS)


@pytest.mark.parametrize(
    ("s", "t", "difference", "ratio"),
    [(580, 600, 0.0292748, 0.152801), (599, 600, None, 0.00719674), (43, 63, None, 0.550491)],
)
def test_signal_to_noise_of_stable_diffusions_schedule(s: int, t: int, difference, ratio: float) -> None:
    """Oracle 7, first part: the reference's figures, and that levels on the common axis give the same ones."""
    schedule = DdpmSchedule(ALPHAS)
    rho = torch.tensor([((1 - ALPHAS[i]) / ALPHAS[i]).sqrt() for i in (s, t)])
    levels = schedule.level(rho / (1 + rho))
    assert levels.timestep.tolist() == [s, t]
    here = levels.rho.double().pow(-2)
    assert (here[0] / here[1] - 1).item() == pytest.approx(ratio, rel=2e-4)
    assert (SNR[s] / SNR[t] - 1).item() == pytest.approx(ratio, rel=1e-5)
    if difference:
        assert (SNR[s] - SNR[t]).item() == pytest.approx(difference, rel=1e-5)


def test_the_ratio_of_one_step_has_mean_one_over_the_forward_process() -> None:
    """Oracle 7, second part: log w = -|δ|²/2 - <δ, z> is a ratio of normal densities; E_q[w] = 1."""
    z = torch.randn(2_000_000, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert torch.exp(-0.5 * 0.27**2 - 0.27 * z).mean().item() == pytest.approx(1, abs=2e-3)


def test_the_closed_form_is_the_posteriors_of_one_ddpm_step() -> None:
    """|δ|² = (SNR_s - SNR_t) |x0 - x̂0|², from mean and variance of q(x_s | x_t, x_0) written out."""
    s, t, x0, guess, x_t = 580, 600, 0.7, 0.2, 0.4
    a_s, a_t = ALPHAS[s], ALPHAS[t]
    step = a_t / a_s
    variance = (1 - a_s) / (1 - a_t) * (1 - step)

    def mean(clean: float):
        return a_s.sqrt() * (1 - step) / (1 - a_t) * clean + step.sqrt() * (1 - a_s) / (1 - a_t) * x_t

    delta = (mean(x0) - mean(guess)).square() / variance
    assert_close(delta, (SNR[s] - SNR[t]) * (x0 - guess) ** 2)


def weights(method: StepWeighted, policy, batch=None) -> torch.Tensor:
    sides = sides_of(method, policy, batch or pair_batch(), Rng(3, 5, (0, 1, 2, 3)))
    return method.weight(sides.chosen, sides.drawn)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("adapter", [0.0, 0.5])
def test_weights_against_the_forward_process_are_below_one(tuned_policy, family: str, adapter: float) -> None:
    """Oracle 8, first part, and the formula exp(-(SNR_s/SNR_t - 1) MSE_ε / 2) of the reference."""
    method, policy = StepWeighted(loss_space="noise"), tuned_policy(adapter, family)
    sides = sides_of(method, policy, pair_batch(), Rng(3, 5, (0, 1, 2, 3)))
    found = method.weight(sides.chosen, sides.drawn)
    assert ((found >= 0) & (found < 1)).all()
    assert found.max() > 0
    snr = (sides.drawn.cleaner(50).rho.pow(-2), sides.drawn.level.rho.pow(-2))
    assert_close(found, torch.exp(-(snr[0] / snr[1] - 1) * sides.chosen.error / 2).detach(), rtol=1e-3, atol=1e-6)


def test_a_perfect_network_has_weight_one_and_a_fresh_adapter_too_against_the_base(tuned_policy, pairs) -> None:
    """Oracle 8: x0_error 0 gives 1; `reference` gives 1 at the start and may exceed it later."""
    method = StepWeighted(sigma_low=0.05)  # before the last step, which weighs nothing
    sides = sides_of(method, tuned_policy(), pairs, Rng(3, 5, (0, 1, 2, 3)))
    perfect = replace(sides.chosen, x0_error=torch.zeros(4))
    assert method.weight(perfect, sides.drawn).tolist() == [1.0] * 4
    against_base = StepWeighted(sigma_low=0.05, weight_denominator="reference")
    assert against_base.weight(sides.chosen, sides.drawn).tolist() == [1.0] * 4
    better = replace(sides.chosen, x0_error=sides.chosen.x0_error / 2)
    assert (against_base.weight(better, sides.drawn) > 1).all()


def test_the_last_step_to_the_picture_weighs_nothing_and_pure_noise_is_fine() -> None:
    """s = 0 has infinite SNR; α = 0 has none."""
    found = StepWeighted().weight(side(x0_error=torch.tensor([0.0, 0.1, 0.25])), drawn_at(999, 985, 0))
    assert found[:2].tolist() == [0.0, 0.0]
    assert 0.99 < found[2] < 1


@pytest.mark.parametrize(("sigma", "expected"), [(0.04, 0.694), (0.1, 0.938), (0.2, 0.977), (0.4, 0.992)])
def test_the_references_table_for_flow(sigma: float, expected: float) -> None:
    """MSE_v = 0.25, 50 uniform steps: x0_error = σ² MSE_v."""
    seen = side(x0_error=torch.tensor([sigma**2 * 0.25]))
    assert StepWeighted().weight(seen, drawn_at(round(1000 * (1 - sigma)))).item() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("t", "error", "expected"), [(60, 0.42, 0.884), (100, 0.30, 0.952), (200, 0.17, 0.984)])
def test_the_references_table_for_stable_diffusion(t: int, error: float, expected: float) -> None:
    """A 50-step grid; x0_error = MSE_ε / SNR_t."""
    weight = math.exp(-(SNR[t - 20] / SNR[t] - 1) * error / 2)
    assert weight == pytest.approx(expected, abs=1e-3)


def test_weights_grow_with_the_number_of_steps(tuned_policy) -> None:
    """Oracle 10: smaller steps, larger weights."""
    found = [weights(StepWeighted(weight_steps=steps), tuned_policy(0.5)) for steps in (10, 20, 50, 200, 1000)]
    assert all((more >= less).all() for less, more in pairwise(found))


@given(values=st.lists(st.floats(0.1, 2), min_size=1, max_size=9), scale=st.floats(0.1, 10), dropped=st.integers(0, 8))
def test_the_effective_share_lies_between_one_nth_and_one(values: list[float], scale: float, dropped: int) -> None:
    """Oracle 10: 1 for equal weights, 1/n for one alone, blind to scale; masked samples do not count."""
    weights, kept = torch.tensor(values), torch.ones(len(values))
    share = effective_share(weights, kept)
    assert 1 / len(values) - 1e-5 <= share <= 1 + 1e-5
    assert_close(effective_share(scale * weights, kept), share)
    assert_close(effective_share(torch.ones_like(weights), kept), torch.tensor(1.0))
    kept[: min(dropped, len(values) - 1)] = 0
    some = effective_share(weights, kept)
    assert_close(some, effective_share(weights[kept > 0], torch.ones(int(kept.sum()))))
    assert effective_share(weights, 0 * kept) == 0


@pytest.mark.parametrize(
    ("weights", "share"), [((1.0, 2.0), 0.9), ((1.0, 2.0, 3.0), 6 / 7), ((0.0, 5.0), 1 / 2), ((0.0, 0.0, 0.1), 1 / 3)]
)
def test_the_effective_share_by_hand(weights: tuple[float, ...], share: float) -> None:
    """(Σw)² / (n Σw²): 9 / (2 · 5), 36 / (3 · 14); one that has all is 1/n."""
    assert_close(effective_share(torch.tensor(weights), torch.ones(len(weights))), torch.tensor(share))


def weighed(*weights: tuple[float, float]) -> Sides:
    """Pairs of known weights (chosen, rejected) at σ = 0.5, where a step of 50 gains SNR_s - SNR_t = (13/12)² - 1."""
    errors = (-2 * torch.tensor(weights, dtype=torch.float64).log() / ((0.52 / 0.48) ** 2 - 1)).T
    chosen, rejected = (side(x0_error=error) for error in errors)
    return Sides(chosen, rejected, drawn_at(*[500] * len(weights)), [])


@pytest.mark.parametrize(("ratio", "end", "other"), [("p/q", "low", "high"), ("q/p", "high", "low")])
def test_a_pair_goes_by_its_smaller_weight(pairs, ratio, end: str, other: str) -> None:
    """A weight of 0.5 is clipped at one end, its inverse at the other; 0.85 too is masked, and 0.9 and 1 are left.

    Their effective share is (1 + w)² / (2 (1 + w²)), the same for w and 1/w.
    """
    sides = weighed((0.5, 1.0), (1.0, 0.85), (0.9, 0.95), (1.0, 1.0))
    numbers = StepWeighted(mask_below=0.88, weight_ratio=ratio).metrics(sides, pairs)
    assert_close(numbers["weight_chosen"].tolist(), [0.5, 1.0, 0.9, 1.0], rtol=1e-4, atol=0)
    assert_close(numbers["weight_rejected"].tolist(), [1.0, 0.85, 0.95, 1.0], rtol=1e-4, atol=0)
    assert numbers["weight_smallest"].item() == pytest.approx(0.5, rel=1e-4)
    assert numbers["masked"].tolist() == [1, 1, 0, 0]
    assert numbers[f"clipped_{end}"].tolist() == [1, 0, 0, 0]
    assert numbers[f"clipped_{other}"].tolist() == [0, 0, 0, 0]
    assert numbers["effective_share"].item() == pytest.approx(1.9**2 / (2 * (1 + 0.9**2)), rel=1e-5)


@pytest.mark.parametrize(("normalise", "of"), [("unmasked", 2), ("batch", 4)])
def test_masked_pairs_have_no_share_and_the_others_that_of_their_weight(uneven_pairs, normalise, of: int) -> None:
    sides = weighed((0.5, 1.0), (1.0, 0.95), (0.99, 0.8), (1.0, 1.0))
    shares = StepWeighted(normalise=normalise).shares(sides, uneven_pairs)
    assert shares.tolist() == [0, 2 / of, 0, 3 / of]


@given(taus=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted))
def test_a_stricter_mask_leaves_out_more(taus: list[float]) -> None:
    """Oracle 10: the masked fraction is monotone in τ, the clipped one falls with ε."""
    found = torch.linspace(0.05, 1, 20)
    low, high = (((found < tau).float().mean()) for tau in taus)
    assert low <= high
    clipped = [(StepWeighted(weight_clip=eps).clipped(found) != found).sum() for eps in (0.1, 0.3, 0.9)]
    assert clipped == sorted(clipped, reverse=True)
