"""The clipped policy gradient against autograd, pencil and paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.testing import assert_close

from toolkit.errors import UsageError
from training.contracts import OptimizerStep, PromptBatch, Report
from training.interpolants import expand
from training.lockstep import alone, in_lockstep
from training.methods._advantages import group_advantages
from training.methods._policy_gradient import PolicyGradient
from training.randomness import Rng
from training.schedules import DdpmSchedule
from training.stochastic import STDS, stochastic_trajectory, transition

PLAIN = {"preference": "plain", "group_size": 4, "rollout_steps": 4, "clip_range": 0.2}
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()


def run(policy, reward, batch: PromptBatch, rng: Rng, **changes) -> tuple[Tensor, list[Report]]:
    policy.output.grad = None
    reports = []
    for event in alone(PolicyGradient(**PLAIN | changes).losses(policy, reward, batch, rng)):
        assert isinstance(event, Report)
        event.loss.backward()
        reports.append(event)
    return policy.output.grad.clone(), reports


def values(reports: list[Report], name: str) -> Tensor:
    return torch.cat([value.reshape(-1) for report in reports for key, value in report.metrics.items() if key == name])


@pytest.mark.parametrize("dynamics", STDS)
@pytest.mark.parametrize("ratio", ["plain", "guard"])
@pytest.mark.parametrize("window", ["all", "fraction", "random", "sliding"])
def test_before_the_first_step_every_ratio_is_exactly_one(
    bending_policy, linear_reward, batch: PromptBatch, rng: Rng, dynamics, ratio: str, window: str
) -> None:
    settings = {"dynamics": dynamics, "noise_level": 0.5, "ratio": ratio, "window": window, "guidance_scale": 2.0}
    policy = bending_policy()
    _, reports = run(policy, linear_reward(), batch, rng, samples_per_call=3, **settings)
    for report in reports:
        for name, value in report.metrics.items():
            if name.startswith("ratio"):
                assert torch.equal(value, torch.ones_like(value))
            if name.startswith(("kl", "clipped")):
                assert value.abs().max() == 0
    assert all(call.guidance_scale == 2.0 for call in policy.calls)


@pytest.mark.parametrize("schedule", [None, DdpmSchedule((1 - BETAS).cumprod(0))])
def test_the_gradient_of_fresh_samples_is_the_advantage_times_that_of_the_log_density(
    bending_policy, linear_reward, batch: PromptBatch, rng: Rng, schedule
) -> None:
    """-mean A log N(x' | mean, std), by torch.distributions, over all samples and trained steps."""
    policy, reward = bending_policy(schedule=schedule), linear_reward()
    found, _ = run(policy, reward, batch, rng, noise_level=0.5)

    numbers = Rng(rng.seed, rng.update, tuple(range(8)))
    grid = policy.schedule.grid(4)
    noise_levels = torch.tensor([0.5, 0.5, 0.5, 0.0]).expand(8, 4)
    noise = numbers.normal("noise", policy.latent_shape)
    walk = stochastic_trajectory(policy, noise, {}, grid, numbers, dynamics="flow_sde", noise_levels=noise_levels)
    target = reward.target([[prompt] for prompt in batch.prompts for _ in range(4)])
    advantages = group_advantages(scored := reward.score(walk.states[-1], target)[:, 0], 4, scored)
    loss = torch.zeros((), dtype=torch.float64)
    for step in range(3):
        here, there = (policy.schedule.level(grid[step + k].expand(8)) for k in (0, 1))
        estimate = policy.predict(walk.states[step], here, {})
        normal = transition(estimate, here, there, "flow_sde", torch.tensor(0.5))
        density = Normal(normal.mean, expand(normal.std, normal.mean)).log_prob(walk.states[step + 1])
        loss = loss - (advantages * density.flatten(1).mean(dim=1)).mean() / 3
    expected = torch.autograd.grad(loss, policy.output)[0]
    assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_equal_rewards_teach_nothing(bending_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    gradient, reports = run(bending_policy(), linear_reward(scale=0.0), batch, rng)
    assert gradient.abs().max() == 0
    assert values(reports, "zero_std").mean() == 1


def moved(policy, reward, batch: PromptBatch, rng: Rng, by: float, **changes) -> tuple[Tensor, list[Report]]:
    """Second half of an update of two steps, after the network was moved in between."""
    settings = PLAIN | {"epochs": 2} | changes
    policy.output.grad, reports = None, []
    for event in alone(PolicyGradient(**settings).losses(policy, reward, batch, rng)):
        if isinstance(event, OptimizerStep):
            policy.output.data += by
            policy.output.grad, reports = None, []
        else:
            event.loss.backward()
            reports.append(event)
    return policy.output.grad.clone(), reports


def test_clipping_stops_a_gradient_that_has_gone_far_enough(bending_policy, linear_reward, batch, rng: Rng) -> None:
    """With a range of next to nothing only samples that were moved against their advantage still pull."""
    free, loose = moved(bending_policy(), linear_reward(), batch, rng, 0.05, clip_range=1.0)
    held, tight = moved(bending_policy(), linear_reward(), batch, rng, 0.05, clip_range=1e-9)
    clipped = {
        name: values(reports, "clipped_above") + values(reports, "clipped_below")
        for name, reports in (("loose", loose), ("tight", tight))
    }
    assert clipped["loose"].max() == 0
    assert 0 < clipped["tight"].mean() < 1
    assert not torch.allclose(free, held)


def test_effective_samples_weigh_by_the_density_of_all_elements(bending_policy, linear_reward, batch, rng) -> None:
    """The ratio is a mean over 12 elements; weights are its 12th power."""
    _, reports = moved(bending_policy(), linear_reward(), batch, rng, 0.3, rollout_steps=2)
    (report,) = reports
    weights = report.metrics["ratio.0"] ** 12
    expected = weights.sum() ** 2 / weights.square().sum() / len(weights)
    assert expected < 0.99
    assert_close(report.metrics["effective_samples"], expected)


def test_the_guards_ratio_is_linear_in_how_far_the_mean_has_moved(bending_policy, linear_reward, batch, rng) -> None:
    """log ratio + KL = mean(z (mean - old)) / std, so in units of std: exp(mean(z (mean - old))), without bias."""
    _, plain = moved(bending_policy(), linear_reward(), batch, rng, 0.3)
    _, guard = moved(bending_policy(), linear_reward(), batch, rng, 0.3, ratio="guard")
    for turn in range(3):
        change, divergence = values(plain, f"ratio.{turn}").log(), values(plain, f"kl.{turn}")
        std = (0.7**2 * (s := 1 - turn / 4) / (1 - (s if s < 1 else 0.75)) * 0.25) ** 0.5
        assert_close(values(guard, f"ratio.{turn}").log(), (change + divergence) * std)


def test_the_guard_lets_all_levels_weigh_alike(linear_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    """On fresh samples the guard's gradient is std / length times the plain one."""
    settings = {"window": "sliding", "window_size": 1, "window_every": 1, "dynamics": "dance_sde", "noise_level": 0.3}
    for update in range(3):
        at = Rng(rng.seed, update, rng.indices)
        plain, _ = run(linear_policy(), linear_reward(), batch, at, **settings)
        guard, _ = run(linear_policy(), linear_reward(), batch, at, ratio="guard", **settings)
        assert_close(guard, plain * 0.3 * 0.25**0.5 / 0.25)


def test_the_pull_to_the_base_is_the_divergence_over_the_length(
    policy_with_reference, linear_reward, batch, rng
) -> None:
    """Source: Flow-GRPO's code: ((1 + g² (1 - s) / (2 s)) d (v - v_ref))² / (2 g²), mean over the elements."""

    policy = policy_with_reference()
    gradient, reports = run(policy, linear_reward(scale=0.0), batch, rng, kl_weight=2.0)
    losses = torch.stack([report.loss.detach() for report in reports]).sum()
    assert_close(losses, 2.0 * values(reports, "reference_kl").mean())
    assert gradient.abs().max() > 0
    call, s, d = policy.calls[1], 0.75, 0.25
    g2 = 0.7**2 * s / (1 - s)
    velocity = policy.network(call.x_t, call.level)
    with policy.as_reference():
        difference = (1 + g2 * (1 - s) / (2 * s)) * d * (velocity - policy.network(call.x_t, call.level))
    by_hand = difference.square().flatten(1).mean(dim=1) / (2 * g2)
    assert_close(reports[1].metrics["reference_kl"], by_hand.detach(), rtol=1e-5, atol=1e-8)


def test_two_micro_batches_are_one_large_one(bending_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    """Also with statistics over all samples and two optimizer steps."""
    method = PolicyGradient(**PLAIN | {"minibatches": 2, "samples_per_call": 3})

    def gradients(batches) -> list[Tensor]:
        policy, found = bending_policy(), []
        micro = [method.losses(policy, linear_reward(), one, at) for one, at in batches]
        for event in in_lockstep(micro, lambda pooled: pooled.flatten(0, 1)):
            if isinstance(event, OptimizerStep):
                found.append(policy.output.grad)
                policy.output.data -= 0.1 * policy.output.grad
                policy.output.grad = None
            else:
                (event.loss / len(batches)).backward()
        return [*found, policy.output.grad]

    halves = [
        (PromptBatch([prompt], {"text": torch.zeros(1, 1)}, [words]), Rng(rng.seed, rng.update, (place,)))
        for place, (prompt, words) in enumerate(zip(batch.prompts, batch.words, strict=True))
    ]
    for one, other in zip(gradients([(batch, rng)]), gradients(halves), strict=True):
        assert_close(one, other)


def test_the_size_of_a_network_call_changes_nothing(bending_policy, linear_reward, batch: PromptBatch, rng) -> None:
    found = [run(bending_policy(), linear_reward(), batch, rng, samples_per_call=n)[0] for n in (1, 3, 8)]
    assert_close(found[0], found[1])
    assert_close(found[0], found[2])


def test_best_of_trains_the_ends_of_each_group_on_advantages_of_all(bending_policy, linear_reward, batch, rng) -> None:
    policy = bending_policy()
    _, reports = run(policy, linear_reward(), batch, rng, best_of=2)
    assert len(torch.cat([call.x_t for call in policy.calls])) == 2 * 2 * 3  # prompts, kept, steps
    assert len(reports[0].metrics["reward"]) == 8


def test_one_starting_noise_for_a_group(bending_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    policy = bending_policy()
    run(policy, linear_reward(), batch, rng, shared_noise=True)
    start = policy.calls[0].x_t
    assert torch.equal(start[:4], start[:1].expand(4, *start.shape[1:]))
    assert not torch.equal(start[0], start[4])


def test_a_reward_without_gradient_is_enough(bending_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    class Blunt(linear_reward):
        def score(self, images, target):
            assert not images.requires_grad
            return super().score(images, target).sign()

    gradient, _ = run(bending_policy(), Blunt(), batch, rng)
    assert gradient.abs().max() > 0
    assert "differentiable" not in PolicyGradient.needs


def test_the_words_are_compared_inside_the_group(bending_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    reward = linear_reward()
    _, reports = run(bending_policy(), reward, batch, rng, preference="relative")
    assert reward.texts[0][0] == ["3d. a cat", "flat. a cat"]
    x0 = torch.cat(reward.seen)
    scored = [reward.score(x0, reward.target(reward.texts[0]))[:, place] for place in (0, 1)]
    assert_close(reports[0].metrics["reward"], scored[0] - scored[1])


def test_two_levels_that_are_one_timestep_are_refused_in_plain_words(bending_policy, linear_reward, batch, rng) -> None:
    policy = bending_policy(schedule=DdpmSchedule((1 - BETAS).cumprod(0)))
    with pytest.raises(UsageError, match=r"one and the same timestep.*Leave `method.shift` empty"):
        run(policy, linear_reward(), batch, rng, shift=3.0, rollout_steps=50)


@pytest.mark.parametrize(
    "changes", [{"best_of": 3}, {"best_of": 6}, {"minibatches": 5}, {"best_of": 2, "minibatches": 3}]
)
def test_groups_that_cannot_be_divided_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        PolicyGradient(**PLAIN | changes)


@pytest.mark.parametrize("dynamics", ["cps", "ddim"])
def test_more_noise_than_a_level_has_is_refused(dynamics: str) -> None:
    with pytest.raises(ValueError, match="noise_level of at most 1"):
        PolicyGradient(**PLAIN | {"dynamics": dynamics, "noise_level": 1.2})
    assert PolicyGradient(**PLAIN | {"dynamics": "dance_sde", "noise_level": 1.2}).noise_level == 1.2
