"""What the forward-process methods share, with a paper that asks for nothing but to be shown its samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import PrivateAttr
from torch.testing import assert_close

from training import interpolants
from training.contracts import PromptBatch
from training.lockstep import alone
from training.methods._advantages import group_advantages
from training.methods._forward_process import ForwardProcess, Noised, velocity_distance
from training.randomness import Rng
from training.rollout import sample
from training.schedules import sigma_grid

TOY = {"preference": "plain", "group_size": 4, "rollout_steps": 4, "levels": 2, "kl_weight": 0.0, "samples_per_call": 3}


class Shown(ForwardProcess):
    """Its loss is one, or the share, for every sample."""

    share: bool = False
    _seen: list[tuple[Noised, torch.Tensor]] = PrivateAttr(default_factory=list)

    def loss(self, noised, now, shares, before):
        self._seen.append((noised, shares))
        return (shares if self.share else torch.ones_like(shares)) + 0 * now.x0.flatten(1).sum(dim=1), {}

    def decay(self, update: int) -> float:
        return 0.0


def run(method: Shown, policy, reward, batch: PromptBatch, rng: Rng) -> torch.Tensor:
    """The losses of an update, summed as their gradients are."""
    return torch.stack([event.loss.detach() for event in alone(method.losses(policy, reward, batch, rng))]).sum()


def test_an_update_is_the_mean_over_samples_and_levels(bending_policy, linear_reward, batch, rng: Rng) -> None:
    assert_close(run(Shown(**TOY), bending_policy(), linear_reward(), batch, rng).item(), 1.0)


def test_a_sample_brings_its_own_picture_noise_and_share(bending_policy, linear_reward, batch, rng: Rng) -> None:
    """Wherever it is cut: number i K + k, K = 4; the share is the advantage within the limit, over the limit."""
    policy, method = bending_policy(), Shown(**TOY | {"advantage_limit": 1.2, "advantage_scale": "group"})
    at = Rng(rng.seed, rng.update, (5, 6))
    run(method, policy, reward := linear_reward(), batch, at)
    own = Rng(rng.seed, rng.update, tuple(range(20, 28)))
    x0 = sample(policy, own.normal("noise", policy.latent_shape), {}, steps=4)
    scores = reward.score(x0, reward.target([[prompt] for prompt in batch.prompts for _ in range(4)]))[:, 0]
    shares = group_advantages(scores, 4).clamp(-1.2, 1.2) / 1.2
    for turn in range(2):
        seen = method._seen[3 * turn : 3 * turn + 3]
        assert_close(torch.cat([noised.x0 for noised, _ in seen]), x0)
        assert_close(torch.cat([noised.noise for noised, _ in seen]), own.normal(f"fresh.{turn}", policy.latent_shape))
        assert_close(torch.cat([found for _, found in seen]), shares)
        for noised, _ in seen:
            level = noised.level
            assert_close(noised.x_t, interpolants.interpolate(noised.x0, noised.noise, level.alpha, level.sigma))


@pytest.mark.parametrize("levels", [1, 3])
def test_levels_are_spread_evenly_along_the_samplers_path(linear_policy, linear_reward, batch, rng: Rng, levels: int):
    """One within each of as many equal parts, on the straight lines between the sampler's own levels."""
    method = Shown(**TOY | {"levels": levels, "shift": 3.0, "samples_per_call": 8})
    run(method, linear_policy(), linear_reward(), batch, rng)
    own = Rng(rng.seed, rng.update, tuple(range(8)))
    assert len(method._seen) == levels
    for turn, (noised, _) in enumerate(method._seen):
        along = (turn + own.uniform(f"level.{turn}").double()) / levels
        by_hand = np.interp(along, np.linspace(0, 1, 5), sigma_grid(4, 3.0).double())
        assert_close(noised.level.sigma.double(), torch.from_numpy(by_hand), rtol=0, atol=1e-6)


def test_a_share_that_rounds_to_the_whole_path_is_its_end(linear_policy, linear_reward, batch, rng, monkeypatch):
    """1 + (1 - 2^-24) is 2 in float32: the last part's end, beyond which the path has no step."""
    monkeypatch.setattr(Rng, "uniform", lambda rng, name: torch.full((len(rng.indices),), 1 - 2**-24))
    run(method := Shown(**TOY), linear_policy(), linear_reward(), batch, rng)
    assert method._seen[-1][0].level.sigma.tolist() == [0.0, 0.0]


def test_the_pull_to_the_base_is_added_with_its_weight(policy_with_reference, linear_reward, batch, rng: Rng) -> None:
    policy, method = policy_with_reference(), Shown(**TOY | {"kl_weight": 3.0})
    found = run(method, policy, linear_reward(), batch, rng)
    distances = []
    for noised, _ in method._seen:
        with torch.no_grad():
            ours = noised.estimate()
        distances.append(velocity_distance(ours, noised.estimate_in(policy.as_reference())))
    assert torch.cat(distances).min() > 0
    assert_close(found, 1.0 + 3.0 * torch.cat(distances).mean())


def test_the_velocitys_distance_by_hand() -> None:
    one = interpolants.Estimate(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 5.0]]))  # velocity (-1, 3)
    other = interpolants.Estimate(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 2.0]]))  # velocity (1, 1)
    assert velocity_distance(one, other).tolist() == [4.0]
