"""Advantage weighted matching against pencil and paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from training.contracts import OptimizerStep, PromptBatch
from training.interpolants import interpolate
from training.lockstep import alone
from training.methods._forward_process import Noised
from training.methods.awm import Awm
from training.randomness import Rng

TOY = {"preference": "plain", "group_size": 4, "rollout_steps": 4, "levels": 3, "kl_weight": 0.0}
ALONE = TOY | {"trailing_weight": 0.0}


def noised(policy, rng: Rng) -> Noised:
    own = Rng(rng.seed, rng.update, (0, 1))
    x0, noise = own.normal("clean", policy.latent_shape).double(), own.normal("fresh", policy.latent_shape).double()
    level = policy.schedule.level(own.uniform("level", 0.2, 0.9).double())
    return Noised(policy, x0, noise, interpolate(x0, noise, level.alpha, level.sigma), level, {}, 1.0)


def velocity_error(at: Noised) -> Tensor:
    """The flow-matching loss of pre-training, [b]."""
    return (at.policy.network(at.x_t, at.level) - (at.noise - at.x0)).square().flatten(1).mean(dim=1)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_on_policy_the_gradient_is_that_of_the_advantage_weighted_pretraining_loss(
    bending_policy, rng: Rng, sign: float
) -> None:
    """Oracle 8. With power 1 the weight is sigma alone."""
    at = noised(bending_policy(), rng)
    shares = sign * torch.tensor([0.3, 0.9]).double()
    loss, metrics = Awm(**ALONE | {"error_power": 1.0}).loss(at, at.estimate(), shares, None)
    found = torch.autograd.grad(loss.sum(), at.policy.output)[0]
    expected = torch.autograd.grad((shares * at.level.sigma * velocity_error(at)).sum(), at.policy.output)[0]
    assert_close(found, expected)
    assert torch.equal(metrics["ratio"], torch.ones_like(shares))


def test_the_density_is_the_generalised_huber_of_the_error(bending_policy, rng: Rng) -> None:
    """-(s / p) ((e + d)^p - d^p), by hand; 0 for a perfect velocity."""
    at = noised(bending_policy(), rng)
    error = velocity_error(at)
    by_hand = -at.level.sigma / 0.25 * ((error + 1e-3) ** 0.25 - 1e-3**0.25)
    assert_close(Awm(**ALONE).log_density(at, at.estimate()), by_hand)
    perfect = at.estimate()._replace(x0=at.x0, noise=at.noise)
    assert Awm(**ALONE).log_density(at, perfect).abs().max() < 1e-12


def test_equal_rewards_teach_nothing(bending_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    policy = bending_policy()
    for event in alone(Awm(**TOY).losses(policy, linear_reward(scale=0.0), batch, rng)):
        event.loss.backward()
    assert policy.output.grad.abs().max() == 0


def test_later_steps_are_measured_against_the_weights_before_the_first(
    bending_policy, linear_reward, batch: PromptBatch, rng: Rng
) -> None:
    policy, ratios = bending_policy(), []
    for event in alone(Awm(**ALONE | {"epochs": 2}).losses(policy, linear_reward(), batch, rng)):
        if isinstance(event, OptimizerStep):
            policy.output.data += 0.1
        else:
            ratios.append(event.metrics["ratio"])
    assert all(torch.equal(ratio, torch.ones_like(ratio)) for ratio in ratios[:3])
    assert all((ratio != 1).all() for ratio in ratios[3:])


def test_the_trailing_policy_holds_ours_back(bending_policy, rng: Rng) -> None:
    at, method = noised(bending_policy(), rng), Awm(**TOY | {"trailing_weight": 2.0})
    method._trailing = {"output": at.policy.output.detach() + 0.5}
    loss, metrics = method.loss(at, at.estimate(), torch.zeros(2).double(), None)
    with at.policy.as_version(method._trailing):
        trailing = at.policy.network(at.x_t, at.level)
    distance = (at.policy.network(at.x_t, at.level) - trailing).square().flatten(1).mean(dim=1)
    assert_close(metrics["trailing_kl"], distance.detach())
    assert_close(loss, 2.0 * distance)


def test_the_trailing_policy_slows_down_to_a_limit() -> None:
    assert [Awm().decay(update) for update in (0, 100, 1000)] == pytest.approx([0.0, 0.1, 0.3])


def test_the_defaults_are_the_published_constants() -> None:
    method = Awm()
    assert (method.group_size, method.rollout_steps, method.levels, method.guidance_scale) == (24, 14, 6, 1.0)
    assert (method.error_power, method.clip_range, method.advantage_limit) == (0.25, 1.0, 5.0)
    assert (method.kl_weight, method.trailing_weight, method.decay_rate, method.decay_limit) == (1e-3, 1.0, 1e-3, 0.3)
