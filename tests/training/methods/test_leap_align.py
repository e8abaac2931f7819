"""LeapAlign's two leaps against the paper's equations written out with autograd."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from tiny.trajectories import CurvedReward, descend, jacobian_product, levels_of, schedule_of
from torch import Tensor
from torch.testing import assert_close

from training import interpolants
from training.contracts import PromptBatch, Report
from training.methods._trajectory import draw_two_steps, trust
from training.methods.leap_align import LeapAlign
from training.randomness import Rng
from training.schedules import sigma_grid

STEPS = 8
PLAIN = {"augmentation": 0.0, "preference": "plain", "rollout_steps": STEPS, "margin": None, "shift": 2.0}


def run(policy, batch: PromptBatch, rng: Rng, **changes: Any) -> tuple[Tensor, list[Report]]:
    return descend(policy, LeapAlign(**PLAIN | changes).losses(policy, CurvedReward(), batch, rng))


def pinned(gradient_of: Tensor, value: Tensor) -> Tensor:
    """pin(z → y): the value y, the gradient of z."""
    return value.detach() + gradient_of - gradient_of.detach()


def discounted(tensor: Tensor, share: float) -> Tensor:
    """st(z, c): the value z, c times its gradient."""
    return tensor.detach() + share * (tensor - tensor.detach())


def by_equations(policy, batch: PromptBatch, rng: Rng, bridge: float, floor: float | None) -> tuple[Tensor, Tensor]:
    """Equations 3 to 13 for one flow sample, with one graph: the gradient and the sample's weight."""
    sigmas, (k, j) = sigma_grid(STEPS, 2.0).double(), map(int, draw_two_steps(rng, STEPS))
    levels = levels_of(policy, sigma_grid(STEPS, 2.0), 1)

    def velocity(x: Tensor, step: int) -> Tensor:
        return interpolants.to_velocity(policy.predict(x, levels[step], {}), levels[step].alpha, levels[step].sigma)

    states = [rng.normal("noise", policy.latent_shape).double()]
    with torch.no_grad():
        for step in range(STEPS):
            states.append(states[-1] + (sigmas[step + 1] - sigmas[step]) * velocity(states[-1], step))
    leap = states[k] + (sigmas[j] - sigmas[k]) * velocity(states[k], k)
    at_j = pinned(leap, states[j])
    end = at_j - sigmas[j] * velocity(discounted(at_j, bridge), j)
    errors = [(states[j] - leap).abs().mean().detach(), (states[-1] - end).abs().mean().detach()]
    weight = 1 / sum(error.clamp(min=floor) for error in errors) if floor else torch.ones(())
    reward = CurvedReward()
    score = reward.score(pinned(end, states[-1]), reward.target([[prompt] for prompt in batch.prompts]))
    return torch.autograd.grad(-weight * score.mean(), policy.output)[0], weight


def test_the_defaults_are_the_published_ones() -> None:
    """Source: T = 25, alpha 0.3, tau 0.1, margin 0.55 on HPSv2.1."""
    method = LeapAlign()
    assert (method.rollout_steps, method.bridge, method.distance_floor, method.margin) == (25, 0.3, 0.1, 0.55)


@pytest.mark.parametrize("floor", [0.1, None])
@pytest.mark.parametrize("bridge", [0.0, 0.3, 1.0])
def test_the_gradient_is_that_of_the_papers_equations(bending_policy, one_prompt, bridge: float, floor: float | None):
    """Oracle 5, with the weight of equation 13."""
    policy = bending_policy(schedule=schedule_of("velocity"))
    for update in range(5):
        rng = Rng(1, update, (0,))
        expected, weight = by_equations(policy, one_prompt, rng, bridge, floor)
        gradient, reports = run(policy, one_prompt, rng, bridge=bridge, distance_floor=floor)
        assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
        assert reports[0].metrics["trust"].item() == pytest.approx(weight.item(), rel=1e-6)


def test_the_gradient_is_affine_in_the_bridge_with_the_papers_nested_term(bending_policy, one_prompt, one_rng: Rng):
    """Oracles 4 and 5: slope = alpha s_j (s_k - s_j) (J_jᵀ G)ᵀ ∂v_k, written with its sign."""
    policy = bending_policy(schedule=schedule_of("velocity"))
    gradients = [run(policy, one_prompt, one_rng, bridge=b, distance_floor=None)[0] for b in (0.0, 0.5, 1.0)]
    method = LeapAlign(**PLAIN)
    path = method.walk(policy, one_prompt, one_rng)
    k, j = draw_two_steps(one_rng, STEPS)
    verdict = method.judge(policy, CurvedReward(), one_prompt, one_rng, path.picture)
    levels = levels_of(policy, sigma_grid(STEPS, 2.0), 1)
    _, nested = jacobian_product(policy, path.state(j), levels[int(j)], verdict.gradient)
    slope, _ = jacobian_product(policy, path.state(k), levels[int(k)], nested)
    slope = path.sigmas[j] * (path.sigmas[k] - path.sigmas[j]) * slope
    assert slope.abs().max() > 1e-4
    assert_close(gradients[2] - gradients[0], slope, rtol=1e-6, atol=1e-9)
    assert_close(gradients[1] - gradients[0], 0.5 * (gradients[2] - gradients[0]), rtol=1e-6, atol=1e-9)


def test_on_a_straight_path_leaps_land_on_it(linear_policy, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 13: d_j = d_0 = 0, so every sample counts 1 / 2 tau."""
    _, reports = run(linear_policy(), batch, rng)
    for report in reports:
        assert report.metrics["leap_error"].max() < 1e-6
        assert report.metrics["end_error"].max() < 1e-6
        assert_close(report.metrics["trust"], torch.full((2,), 5.0, dtype=torch.float64))


def test_two_calls_carry_gradient_the_later_step_first(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 17: two."""
    policy = bending_policy()
    _, reports = run(policy, batch, rng)
    k, j = draw_two_steps(rng, STEPS)
    grid = sigma_grid(STEPS, 2.0)
    assert_close(torch.stack([call.level.sigma for call in policy.calls]), torch.stack([grid[j], grid[k]]))
    assert_close(reports[0].metrics["gain"], grid[j].double(), rtol=1e-6, atol=0)
    assert_close(reports[1].metrics["gain"], (grid[k] - grid[j]).double(), rtol=1e-6, atol=1e-7)


def test_the_two_steps_are_distinct_ordered_and_every_pair_alike() -> None:
    """Oracle 14."""
    pairs = Counter()
    for update in range(1500):
        k, j = draw_two_steps(Rng(1, update, (0, 1)), 5)
        pairs.update(zip(k.tolist(), j.tolist(), strict=True))
    assert set(pairs) == {(k, j) for j in range(5) for k in range(j)}
    assert max(abs(count / 3000 - 0.1) for count in pairs.values()) < 0.02


@pytest.mark.parametrize(
    ("leap_error", "end_error", "floor", "weight"),
    [(0.0, 0.0, 0.1, 5.0), (0.3, 0.0, 0.1, 2.5), (0.05, 0.4, 0.1, 2.0), (0.3, 0.2, 0.1, 2.0), (9.0, 9.0, None, 1.0)],
)
def test_trust_falls_with_either_distance(leap_error: float, end_error: float, floor: float | None, weight: float):
    """Oracle 11: s = 1 / (max(d_j, tau) + max(d_0, tau)), by hand."""
    assert trust(torch.tensor([leap_error]), torch.tensor([end_error]), floor).item() == pytest.approx(weight)


def test_a_satisfied_hinge_gives_no_gradient(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    gradient, _ = run(bending_policy(), batch, rng, margin=-1e4)
    assert gradient.abs().max() == 0
