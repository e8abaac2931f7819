"""DiffusionNFT against pencil and paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from training.contracts import PromptBatch
from training.interpolants import interpolate
from training.lockstep import alone
from training.methods._forward_process import Noised
from training.methods.nft import Nft
from training.randomness import Rng

TOY = {"preference": "plain", "group_size": 4, "rollout_steps": 4, "levels": 3, "kl_weight": 0.0}


def noised(policy, rng: Rng, count: int = 2) -> Noised:
    own = Rng(rng.seed, rng.update, tuple(range(count)))
    x0, noise = own.normal("clean", policy.latent_shape).double(), own.normal("fresh", policy.latent_shape).double()
    level = policy.schedule.level(own.uniform("level", 0.2, 0.9).double())
    return Noised(policy, x0, noise, interpolate(x0, noise, level.alpha, level.sigma), level, {}, 1.0)


def gradient(method: Nft, at: Noised, shares: list[float], old: float = 0.0) -> Tensor:
    """old: how far the old policy's answer is from ours."""
    method._trailing = {"output": at.policy.output.detach() + old}
    loss, _ = method.loss(at, at.estimate(), torch.tensor(shares).double(), None)
    return torch.autograd.grad(loss.sum(), at.policy.output)[0]


def test_a_picture_that_is_neither_good_nor_bad_teaches_nothing(bending_policy, rng: Rng) -> None:
    """Oracle 8: optimality 1/2, ours equal to the old policy: the gradients of the two mixtures cancel."""
    assert gradient(Nft(**TOY), noised(bending_policy(), rng), [0.0, 0.0]).abs().max() < 1e-12


@pytest.mark.parametrize("old", [0.0, 0.7])
def test_the_best_picture_is_fitted_by_the_plain_x0_loss(bending_policy, rng: Rng, old: float) -> None:
    """Oracle 8: optimality 1 and beta 1: the positive mixture is ours, wherever the old policy is."""
    at = noised(bending_policy(), rng)
    difference = at.estimate().x0 - at.x0
    size = difference.detach().abs().flatten(1).mean(dim=1)
    plain = (difference.square().flatten(1).mean(dim=1) / size).sum()
    expected = 5.0 * torch.autograd.grad(plain, at.policy.output)[0]
    assert_close(gradient(Nft(**TOY), at, [1.0, 1.0], old), expected)


def test_the_worst_picture_pushes_as_hard_the_other_way(bending_policy, rng: Rng) -> None:
    """On policy the two mixtures are mirror images of each other."""
    at = noised(bending_policy(), rng)
    assert_close(gradient(Nft(**TOY), at, [-1.0, -1.0]), -gradient(Nft(**TOY), at, [1.0, 1.0]))


def test_the_mixtures_are_those_of_the_velocities(bending_policy, rng: Rng) -> None:
    """v+ = beta v + (1 - beta) old, v- = (1 + beta) old - beta v, x0 = x - sigma v, in the paper's own words."""
    at, beta, shares = noised(bending_policy(), rng), 0.4, torch.tensor([0.5, -0.2]).double()
    method = Nft(**TOY | {"beta": beta})
    method._trailing = {"output": at.policy.output.detach() - 0.6}
    loss, metrics = method.loss(at, at.estimate(), shares, None)
    v = at.policy.network(at.x_t, at.level)
    with at.policy.as_version(method._trailing):
        old = at.policy.network(at.x_t, at.level)
    sigma = at.level.sigma.reshape(-1, 1, 1, 1)
    assert_close(metrics["old_distance"], (sigma * (v - old)).detach().square().flatten(1).mean(dim=1))
    terms = []
    for mixed in (beta * v + (1 - beta) * old, (1 + beta) * old - beta * v):
        difference = at.x_t - sigma * mixed - at.x0
        terms.append(difference.square().flatten(1).mean(1) / difference.abs().flatten(1).mean(1))
    r = shares / 2 + 0.5
    assert_close(loss, 5.0 / beta * (r * terms[0] + (1 - r) * terms[1]))


def test_the_old_policy_paints_and_follows_ours(bending_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    method, policy = Nft(**TOY | {"decay_rate": 0.1, "decay_limit": 0.25}), bending_policy()
    first = policy.output.detach().clone()
    events = alone(method.losses(policy, linear_reward(), batch, rng))
    rewards = [next(events).metrics["reward"]]
    policy.output.data += 1.0
    method.after_update(policy, update=0)  # decay 0: follows at once
    assert_close(method.state_dict()["output"], first + 1)
    policy.output.data += 1.0
    method.after_update(policy, update=2)  # 0.2 old + 0.8 ours
    assert_close(method.state_dict()["output"], first + 1.8)
    policy.output.data += 1.0
    method.after_update(policy, update=50)  # no slower than a quarter
    assert_close(method.state_dict()["output"], 0.25 * (first + 1.8) + 0.75 * (first + 3))
    method.load_state_dict({"output": first})
    policy.output.data += 5.0  # whoever learns does not matter for the pictures
    rewards.append(next(alone(method.losses(policy, linear_reward(), batch, rng))).metrics["reward"])
    assert_close(*rewards)


def test_the_published_memories_of_the_old_policy() -> None:
    """(flat, rate, limit): (0, 0.001, 0.5), and for written words (75, 0.0075, 0.999)."""
    words = Nft(decay_flat=75, decay_rate=0.0075, decay_limit=0.999)
    assert [Nft().decay(update) for update in (0, 100, 900)] == pytest.approx([0.0, 0.1, 0.5])
    assert [words.decay(update) for update in (0, 75, 175, 900)] == pytest.approx([0.0, 0.0, 0.75, 0.999])


def test_the_pull_to_the_base_is_the_velocitys(bending_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    plain, pulled = (
        next(alone(Nft(**TOY | {"kl_weight": weight}).losses(bending_policy(), linear_reward(), batch, rng)))
        for weight in (0.0, 7.0)
    )
    assert "reference_kl" not in plain.metrics
    assert pulled.metrics["reference_kl"].max() == 0  # this world's base is the policy itself
    assert_close(pulled.loss, plain.loss)
