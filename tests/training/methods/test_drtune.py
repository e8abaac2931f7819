"""DRTune's coefficients against an unrolled chain whose network inputs are detached."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny.trajectories import CurvedReward, descend, levels_of, schedule_of
from torch import Tensor
from torch.testing import assert_close

from training import interpolants
from training.contracts import PromptBatch, Report
from training.methods._trajectory import Active, sweep
from training.methods.drtune import Drtune
from training.methods.refl import Refl
from training.randomness import Rng
from training.schedules import sigma_grid

STEPS = 10
PLAIN = {"augmentation": 0.0, "preference": "plain", "rollout_steps": STEPS, "margin": None, "shift": 2.0}


def run(policy, batch: PromptBatch, rng: Rng, **changes: Any) -> tuple[Tensor, list[Report]]:
    return descend(policy, Drtune(**PLAIN | changes).losses(policy, CurvedReward(), batch, rng))


def by_hand(policy, batch: PromptBatch, rng: Rng, stop: int, active: set[int]) -> Tensor:
    """The paper's loop on one flow sample: the state keeps its graph, only the network's input is cut."""
    x = rng.normal("noise", policy.latent_shape).double()
    sigmas = sigma_grid(STEPS, 2.0).double()
    for number, level in enumerate(levels_of(policy, sigma_grid(STEPS, 2.0), 1)[: stop + 1]):
        velocity = interpolants.to_velocity(policy.predict(x.detach(), level, {}), level.alpha, level.sigma)
        velocity = velocity if number in active else velocity.detach()
        x = x + (sigmas[number + 1] - sigmas[number]) * velocity if number < stop else x - sigmas[number] * velocity
    reward = CurvedReward()
    score = reward.score(x, reward.target([[prompt] for prompt in batch.prompts]))
    return torch.autograd.grad(-score.mean(), policy.output)[0]


def test_the_defaults_are_the_published_ones() -> None:
    """Source: K = 3, ratio 0.4, so the last 10 of 25 steps; margin 0.55 on HPSv2.1."""
    method = Drtune()
    assert (method.rollout_steps, method.k, method.earliest_stop(), method.margin) == (25, 3, 15, 0.55)


@pytest.mark.parametrize("spread_over", ["executed", "rollout"])
def test_the_gradient_is_that_of_the_papers_loop(bending_policy, one_prompt: PromptBatch, spread_over: str) -> None:
    """Oracle 9: h_i below m, -s_m at m, nothing beyond, whichever of these the draw contains."""
    policy, cases = bending_policy(schedule=schedule_of("velocity")), set()
    for update in range(12):
        rng = Rng(1, update, (0,))
        method = Drtune(**PLAIN, spread_over=spread_over, early_stop=0.7)
        path = method.walk(policy, one_prompt, rng)
        stop = rng.integer("stop", 3, STEPS - 1)
        active = set(method.draw_active(path, stop, rng.uniform("first")).steps[:, 0].tolist())
        gradient, _ = run(policy, one_prompt, rng, spread_over=spread_over, early_stop=0.7)
        assert_close(gradient, by_hand(policy, one_prompt, rng, int(stop), active), rtol=1e-6, atol=1e-9)
        cases.add((int(stop) in active, max(active) > int(stop)))
    assert {case[0] for case in cases} == {True, False}
    assert any(lost for _, lost in cases) is (spread_over == "rollout")


def test_a_stop_at_the_last_step_is_the_sparse_surrogate(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 9: m = T - 1 in A equals sum over A of h_i aᵀ∂v_i on the sampler's own picture."""
    policy = bending_policy(schedule=schedule_of("velocity"))
    method = Drtune(**PLAIN, early_stop=0.1, k=STEPS)  # all steps, the last one being m
    path = method.walk(policy, batch, rng)
    steps = torch.arange(STEPS)[:, None].expand(-1, 2)
    verdict = method.judge(policy, CurvedReward(), batch, rng, path.picture)
    expected, _ = descend(policy, sweep(path, verdict, Active(steps, path.widths[steps])))
    gradient, _ = run(policy, batch, rng, early_stop=0.1, k=STEPS)
    assert_close(gradient, expected, rtol=1e-7, atol=1e-10)


def test_one_step_at_the_stop_is_refl(bending_policy, batch: PromptBatch) -> None:
    """Oracle 9: K = 1 and A = {m}."""
    policy = bending_policy(schedule=schedule_of("velocity"))
    refl = Refl(**PLAIN | {"first_step": 0, "last_step": 9, "loss_scale": 1.0})
    compared = 0
    for update in range(60):
        rng = Rng(2, update, (0,))
        method = Drtune(**PLAIN, k=1, early_stop=1.0)
        stop = rng.integer("stop", 0, STEPS - 1)
        path = method.walk(policy, one := PromptBatch(batch.prompts[:1], {}, batch.words[:1]), rng)
        if method.draw_active(path, stop, rng.uniform("first")).steps[0, 0] == stop[0]:
            expected, _ = descend(policy, refl.losses(policy, CurvedReward(), one, rng))
            gradient, _ = run(policy, one, rng, k=1, early_stop=1.0)
            assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
            compared += 1
    assert compared > 5


@pytest.mark.parametrize("spread_over", ["executed", "rollout"])
def test_the_steps_are_distinct_evenly_spaced_and_reach_both_ends(bending_policy, batch, spread_over: str) -> None:
    """Oracle 14, for this method."""
    method = Drtune(spread_over=spread_over, augmentation=0)
    path = method.walk(bending_policy(), batch, Rng(0, 0, (0, 1)))
    seen, stops = set(), set()
    for update in range(300):
        rng = Rng(1, update, (0, 1))
        stop = rng.integer("stop", method.earliest_stop(), 24)
        steps = method.draw_active(path, stop, rng.uniform("first")).steps
        size = stop + 1 if spread_over == "executed" else torch.tensor([25, 25])
        assert torch.equal(steps[1:] - steps[:-1], (size // 3).expand(2, -1))
        assert (steps[-1] < size).all()
        seen |= set(steps.flatten().tolist())
        stops |= set(stop.tolist())
    assert stops == set(range(15, 25))
    assert seen == set(range(25))


def test_the_reward_looks_at_the_estimate_of_the_stop(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    policy = bending_policy(schedule=schedule_of("velocity"))
    method = Drtune(**PLAIN)
    path = method.walk(policy, batch, rng)
    stop = rng.integer("stop", method.earliest_stop(), STEPS - 1)
    with torch.no_grad():
        velocity = path.replay(stop, path.state(stop))
    x0 = path.state(stop) - path.sigmas[stop][:, None, None, None] * velocity
    _, reports = run(policy, batch, rng)
    reward = CurvedReward()
    score = reward.score(x0, reward.target([[prompt] for prompt in batch.prompts]))[:, 0]
    assert_close(reports[0].metrics["reward"], score, rtol=1e-6, atol=1e-8)
    assert_close(reports[0].metrics["stop_sigma"], path.sigmas[stop])
    error = (x0 - path.picture).flatten(1).norm(dim=1) / path.picture.flatten(1).norm(dim=1)
    assert_close(reports[0].metrics["recover_error"], error, rtol=1e-5, atol=1e-8)
    assert len(reports) == len(policy.calls) == 3


def test_a_satisfied_hinge_gives_no_gradient(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    gradient, _ = run(bending_policy(), batch, rng, margin=-1e4)
    assert gradient.abs().max() == 0


@pytest.mark.parametrize("changes", [{"k": 5, "early_stop": 0.7}, {"k": 11, "spread_over": "rollout"}])
def test_more_steps_than_there_are_is_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match="must fit"):
        Drtune(**PLAIN | changes)
    Drtune(**PLAIN | changes | {"k": changes["k"] - 1})
