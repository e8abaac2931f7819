"""InPO: inversion comes back, lands on its level, and with random noise in its place is DPO."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from training import interpolants
from training.interpolants import FROM_OUTPUT
from training.methods._denoising import View, noised
from training.methods.dpo import Dpo
from training.methods.inpo import Inpo
from training.methods.smpo import Smpo
from training.randomness import Rng
from training.rollout import invert, jump_deviation
from training.schedules import FlowSchedule

from .conftest import FAMILIES, run


class Gaussian:
    """The exact network of x0 ~ N(0, 0.5²): the best estimate of x0 is a multiple of x_t."""

    latent_shape, device = (64,), torch.device("cpu")

    def __init__(self, family: str) -> None:
        self.schedule = FAMILIES[family]()

    def predict(self, x_t, level, conditioning, guidance_scale=1.0):
        alpha, sigma = level.alpha.double()[:, None], level.sigma.double()[:, None]
        x0 = 0.25 * alpha * x_t / (0.25 * alpha.square() + sigma.square())
        noise = sigma * x_t / (0.25 * alpha.square() + sigma.square())
        return interpolants.Estimate(x0, noise)


def there_and_back(family: str, steps: int, top: float, **options) -> float:
    """Relative error of a walk 0 → top → 0 of `steps` even steps each."""
    model, x0 = Gaussian(family), 0.5 * torch.randn(256, 64, generator=torch.Generator().manual_seed(2)).double()
    grid = torch.linspace(top, 0, steps + 1).double()
    sigma = torch.full((256,), top).double()
    x = invert(model, x0, {}, sigma, torch.cat([torch.ones(1).double(), grid[1:]]), **options)
    for high, low in pairwise(grid):
        level, to = (model.schedule.level(value.expand(256)) for value in (high, low))
        x = interpolants.step(model.predict(x, level, {}), to.alpha.double(), to.sigma.double())
    return ((x - x0).square().mean().sqrt() / x0.square().mean().sqrt()).item()


@pytest.mark.parametrize(("steps", "expected"), [(5, 0.374), (10, 0.207), (20, 0.109), (40, 0.056), (80, 0.028)])
def test_the_round_trip_error_halves_with_each_doubling_of_steps(steps: int, expected: float) -> None:
    """Oracle 12, the reference's own figures for Euler on a flow."""
    assert there_and_back("velocity", steps, 0.8) == pytest.approx(expected, abs=2e-3)


def test_ddim_obeys_the_same_first_order_law() -> None:
    """Oracle 12, second half; and ReNoise beats the plain step."""
    errors = [there_and_back("epsilon", steps, 0.8) for steps in (10, 20, 40)]
    assert [more / less for more, less in pairwise(errors)] == pytest.approx([2, 2], abs=0.35)
    assert there_and_back("velocity", 10, 0.8, renoise=True) < 0.7 * there_and_back("velocity", 10, 0.8)


def test_one_euler_step_implies_the_networks_own_velocity(tuned_policy, pairs) -> None:
    """Oracle 13: τ - x0 = v_θ(x0, 0)."""
    policy, sigma = tuned_policy(0.5), torch.full((4,), 0.6)
    x_t = invert(policy, pairs.chosen, {}, sigma, torch.tensor([0.6, 0.0]))
    noise = interpolants.recover_noise(x_t, pairs.chosen, 1 - sigma, sigma)
    asked = policy.network(pairs.chosen, FlowSchedule().level(torch.zeros(4)))
    assert_close(noise - pairs.chosen, asked.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a_constant_velocity_is_walked_exactly(linear_policy, pairs, steps: int) -> None:
    """Oracle 13, second half."""
    policy, sigma = linear_policy(), torch.tensor([0.1, 0.35, 0.7, 1.0])
    x_t = invert(policy, pairs.chosen, {}, sigma, policy.schedule.grid(steps))
    assert_close(x_t, (pairs.chosen + sigma.view(-1, 1, 1, 1) * policy.output).detach(), rtol=1e-6, atol=1e-6)


def test_the_implied_noises_of_a_constant_velocity_are_known(linear_policy, pairs, four) -> None:
    """τ = x0 + v on either side: the mean of their sizes, and their cosine, are what is logged."""
    policy = linear_policy()
    _, numbers = run(Inpo(sigma_low=0.1), policy, pairs, four)
    chosen, rejected = ((x0 + policy.output).detach().flatten(1) for x0 in (pairs.chosen, pairs.rejected))
    lengths = chosen.norm(dim=1), rejected.norm(dim=1)
    assert_close(numbers["implied_noise"], sum(lengths) / 2 / 12**0.5, rtol=1e-5, atol=0)
    likeness = (chosen * rejected).sum(dim=1) / (lengths[0] * lengths[1])
    assert_close(numbers["implied_likeness"], likeness, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("cls", [Inpo, Smpo])
def test_inversion_lands_on_the_level_and_leaves_no_graph(tuned_policy, pairs, four, family: str, cls) -> None:
    """Oracle 14: α x0 + σ τ is x_t; no gradient; the sides' noises differ; each walk is a sample's own."""
    method, policy = cls(), tuned_policy(0.3, family)
    drawn = method.draw(policy, four)
    views = method.views(policy, pairs, drawn, four)
    for view, x0 in zip(views, (pairs.chosen, pairs.rejected), strict=True):
        again = interpolants.interpolate(x0, view.truth.noise, drawn.level.alpha, drawn.level.sigma)
        assert_close(again, view.x_t, rtol=1e-5, atol=1e-6)
        assert not view.x_t.requires_grad
    assert not torch.equal(views[0].truth.noise, views[1].truth.noise)
    alone = replace(pairs, chosen=pairs.chosen[2:3], rejected=pairs.rejected[2:3], conditioning={})
    (only, _) = method.views(policy, alone, replace(drawn, place=drawn.place[2:3]), Rng(four.seed, four.update, (2,)))
    assert_close(only.x_t, views[0].x_t[2:3])


def test_both_networks_are_asked_at_the_same_place(tuned_policy, pairs, four) -> None:
    policy, method = tuned_policy(0.3), Inpo()
    list(method.losses(policy, None, pairs, four))
    (views, _) = method.views(policy, pairs, method.draw(policy, four), four)
    policy.asked.clear()
    list(method.losses(policy, None, pairs, four))
    at = [is_on for x_t, is_on, _ in policy.asked if torch.equal(x_t, views.x_t)]
    assert at == [True, False, True]


def test_with_random_noise_instead_of_the_implied_one_it_is_dpo(tuned_policy, pairs, four, monkeypatch) -> None:
    """Oracle 14, last part."""
    expected, _ = run(Dpo(beta=5), tuned_policy(0.3), pairs, four)

    def at_random(self, policy, batch, drawn, rng) -> list[View]:
        noise = rng.normal("noise", policy.latent_shape)
        return [noised(x0, noise, drawn.level) for x0 in (batch.chosen, batch.rejected)]

    monkeypatch.setattr(Inpo, "views", at_random)
    assert torch.equal(run(Inpo(beta=5), tuned_policy(0.3), pairs, four)[0], expected)


def test_the_base_may_walk_instead(tuned_policy, pairs, four) -> None:
    policy, method = tuned_policy(0.9), Inpo(inversion_model="reference")
    drawn = method.draw(policy, four)
    of_base = method.views(policy, pairs, drawn, four)[0].x_t
    assert not any(is_on for _, is_on, _ in policy.asked)
    assert policy.is_on
    assert torch.equal(of_base, method.views(tuned_policy(0.0), pairs, drawn, four)[0].x_t)
    assert not torch.equal(of_base, Inpo().views(policy, pairs, drawn, four)[0].x_t)


def test_fresh_noise_has_the_size_that_ddim_gives_it(tuned_policy, pairs, four) -> None:
    """Equation 16 of DDIM at eta = 1, from the scheduler's own numbers."""
    schedule = FAMILIES["epsilon"]()
    alphas = schedule._alpha.square()
    rho = torch.tensor([(schedule._sigma[i] / schedule._alpha[i]) for i in (300, 320)])
    low, high = (schedule.level((r / (1 + r))[None]) for r in rho)
    expected = ((1 - alphas[300]) / (1 - alphas[320]) * (1 - alphas[320] / alphas[300])).sqrt()
    assert jump_deviation(low, high).item() == pytest.approx(expected.item(), rel=1e-4)
    with_noise, without = (
        Inpo(inversion_noise=eta).views(tuned_policy(0.3), pairs, Inpo().draw(tuned_policy(), four), four)
        for eta in (0.1, 0.0)
    )
    assert not torch.equal(with_noise[0].x_t, without[0].x_t)


@pytest.mark.parametrize("parametrisation", ["velocity", "epsilon"])
def test_the_first_call_is_at_the_cleanest_level(parametrisation: str) -> None:
    """α = 1 and σ = 0 exactly, the network being asked at its smallest timestep."""
    level = FAMILIES[parametrisation]().level(torch.zeros(2))
    assert (level.alpha.tolist(), level.sigma.tolist()) == ([1.0, 1.0], [0.0, 0.0])
    assert level.timestep.tolist() == [0, 0]
    x, output = torch.ones(2, 3), torch.full((2, 3), 0.5)
    assert FROM_OUTPUT[parametrisation](output, x, level.alpha, level.sigma).x0.tolist() == x.tolist()
