"""Latent rewards as a method: their gradient reaches the network by the chain rule, within its limits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from training.contracts import PhotoBatch, Report
from training.latent_reward import Seen, adjustment, rms
from training.lockstep import alone, in_lockstep
from training.methods._drift import DriftControl
from training.methods.latent_reward import FollowLatentReward
from training.methods.sft import Sft
from training.randomness import Rng


class LinearJudge:
    """R = <x, direction>, everywhere alike; trusted by what is asked for."""

    def __init__(self, trust: float = 1.0, size: float = 1e-3) -> None:
        self.trusted, self.asked = trust, []
        self.direction = size * torch.randn(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def look(self, policy, x_t, level, conditioning) -> Seen:
        x_t = x_t.detach()
        self.asked.append((x_t, level))
        gradient = self.direction.expand_as(x_t)
        return Seen((gradient * x_t).flatten(1).sum(1), gradient, policy.predict(x_t, level, conditioning))

    def trust(self, sigma):
        return torch.full_like(sigma, self.trusted)


def made(judge: LinearJudge, **settings) -> FollowLatentReward:
    method = FollowLatentReward(rollout_steps=2, **{"data_weight": 0.0, "reference_weight": 0.0} | settings)
    method._judge = judge  # type: ignore[assignment]
    return method


def gradient_of(method, policy, batch, rng) -> torch.Tensor:
    policy.output.grad = None
    for report in alone(method.losses(policy, None, batch, rng)):
        report.loss.backward()
    return policy.output.grad.clone()


def test_refl_follows_the_chain_rule(linear_policy, one_prompt, one_rng) -> None:
    """x' = x_t - Δ v, so ∂(-R / Δ)/∂v is the reward's gradient itself, whatever Δ."""
    judge, policy = LinearJudge(), linear_policy()
    for step in (0.02, 0.1):
        found = gradient_of(made(judge, step=step), policy, one_prompt, one_rng)
        assert_close(found, judge.direction, rtol=1e-5, atol=1e-9)


def test_the_reward_looks_one_step_on(linear_policy, one_prompt, one_rng) -> None:
    """And -R / Δ there is the loss."""
    judge, policy = LinearJudge(), linear_policy()
    (report,) = made(judge, step=0.05).losses(policy, None, one_prompt, one_rng)
    (x_t, level), call = judge.asked[0], policy.calls[0]
    assert_close(level.sigma, call.level.sigma - 0.05)
    assert_close(x_t, (call.x_t - 0.05 * policy.output).detach())
    score = (judge.direction * x_t).sum()
    assert_close(report.metrics["latent_score"], score[None])
    assert_close(report.loss, -score / 0.05, rtol=1e-6, atol=0)


def test_trust_and_weight_scale_the_pull(linear_policy, one_prompt, one_rng) -> None:
    policy = linear_policy()
    full = gradient_of(made(LinearJudge()), policy, one_prompt, one_rng)
    half = gradient_of(made(LinearJudge(trust=0.5), reward_weight=3.0), policy, one_prompt, one_rng)
    assert_close(half, 1.5 * full)
    blind = gradient_of(made(LinearJudge(trust=0.5), sigma_weighting="uniform"), policy, one_prompt, one_rng)
    assert_close(blind, full)


def test_a_large_gradient_is_shortened_to_a_share_of_the_answer(linear_policy, one_prompt, one_rng) -> None:
    judge, policy = LinearJudge(size=50.0), linear_policy()
    found = gradient_of(made(judge, limit=0.2), policy, one_prompt, one_rng)
    assert_close(rms(found[None]), 0.2 * rms(policy.output.detach()[None]), rtol=1e-5, atol=0)
    assert_close(found / found.norm(), judge.direction / judge.direction.norm())
    (report,) = made(judge, mode="adjust", limit=0.2).losses(policy, None, one_prompt, one_rng)
    assert_close(report.loss, 0.2**2 * policy.output.square().mean(), rtol=1e-5, atol=0)  # all that is left to learn


@pytest.mark.parametrize("parametrisation", ["velocity", "epsilon", "v_prediction"])
def test_adjust_teaches_the_adjusted_answer_and_stops_there(tuned_policy, pairs, four, parametrisation: str) -> None:
    """At the frozen base the gradient is -2/D · change · ∂answer; `adjust` asks no backward pass through the reward."""
    judge, policy = LinearJudge(), tuned_policy(0.0, parametrisation)
    batch = PhotoBatch(pairs.prompts, pairs.conditioning, [], pairs.chosen, pairs.weights)
    method = made(judge, mode="adjust", source="photos", strength=2.0, sigma_low=0.3, sigma_high=0.6)
    found = gradient_of(method, policy, batch, four)
    x_t, level = judge.asked[0]
    change = policy.as_output(adjustment(judge.direction.expand_as(x_t), level, 2.0), level)
    slope = torch.sin(x_t + level.sigma.reshape(-1, 1, 1, 1).double())
    assert_close(found, (-2 * change * slope).mean(dim=0) / 12, rtol=1e-4, atol=1e-12)


def test_data_alone_is_plain_fine_tuning(tuned_policy, photos, four) -> None:
    """Oracle D5.2: without reward and reference, the loss on photos is that of `sft`, noise aside."""

    class SameNoise(type(four)):
        def normal(self, name, shape, *, shared=False):
            return super().normal("noise" if name == "data" else name, shape, shared=shared)

    rng = SameNoise(four.seed, four.update, four.indices)
    settings = {"sigma_low": 0.1, "sigma_high": 0.9}
    method = made(LinearJudge(), source="photos", reward_weight=0.0, data_weight=2.5, **settings)
    found, expected = (gradient_of(m, tuned_policy(0.3), photos, rng) for m in (method, Sft(**settings)))
    assert_close(found, 2.5 * expected)


def test_without_photos_the_frozen_base_gives_the_data(tuned_policy, batch, rng) -> None:
    policy = tuned_policy(0.5)
    method = made(LinearJudge(), data_weight=1.0)
    *_, data = method.losses(policy, None, batch, rng)
    rollouts = [is_on for _, is_on, with_gradient in policy.asked[-3:] if not with_gradient]
    assert rollouts == [False, False]  # two sampling steps, adapter off; then the call that learns
    assert policy.asked[-1][1:] == (True, True)
    assert data.metrics["error"].shape == (2,)


def test_the_reference_pulls_back(tuned_policy, photos, four) -> None:
    """With weight β alone the loss is β |v - v_ref|²: 0 at the base, and its slope is the adapter's own."""
    method = made(LinearJudge(), source="photos", reward_weight=0.0, reference_weight=1.0)
    assert gradient_of(method, tuned_policy(0.0), photos, four).abs().max() == 0
    policy = tuned_policy(0.5)
    assert (gradient_of(method, policy, photos, four) * policy.output.detach()).sum() > 0


def test_photos_beside_the_own_pictures_are_the_data_alone(tuned_policy, photos, four) -> None:
    judge = LinearJudge()
    own, beside, theirs = (made(judge, source=source, data_weight=w) for source, w in
                           (("rollout", 0.0), ("beside", 1.0), ("photos", 0.0)))  # fmt: skip
    for method in (own, beside, theirs):
        list(method.losses(tuned_policy(0.3), None, photos, four))
    assert torch.equal(judge.asked[0][0], judge.asked[1][0])
    assert not torch.equal(judge.asked[0][0], judge.asked[2][0])


# ── the controller of the pull ────────────────────────────────────────────────────────────────────────────────────────


def steered(*drifts: float, **settings) -> list[float]:
    """The weight after each update with that mean drift, over two samples."""
    method, weights = DriftControl(**{"reference_weight": 0.1, "drift_target": 1.0} | settings), []
    for number, drift in enumerate(drifts):
        assert not list(alone(method.measured(torch.tensor([0.5, 1.5]) * drift)))
        method.after_update(None, number)  # type: ignore[arg-type]
        weights.append(method.weight_now)
    return weights


def test_the_weight_follows_the_drift_by_steps_of_one_and_a_half() -> None:
    """λ × 1.5 above 1.5 d*, λ / 1.5 below d* / 1.5, and both limits themselves are near enough."""
    assert steered(1.6, 1.5, 1.0, 0.67, 0.66, 4.0) == pytest.approx([0.15, 0.15, 0.15, 0.15, 0.1, 0.15])
    assert steered(9.0, 0.1, drift_target=None) == [0.1, 0.1]
    with pytest.raises(ValueError, match="must not be 0"):
        DriftControl(reference_weight=0.0, drift_target=1.0)


@given(start=st.floats(0.02, 50.0))
def test_a_drift_that_answers_the_weight_comes_to_its_target_and_rests(start: float) -> None:
    """d = start λ0 / λ: within the tolerance after log(start) / log(1.5) updates, and the weight moves no more."""
    method = DriftControl(reference_weight=0.1, drift_target=1.0)
    seen = []
    for number in range(14):
        drift = start * 0.1 / method.weight_now
        list(alone(method.measured(torch.tensor([drift], dtype=torch.float64))))
        method.after_update(None, number)  # type: ignore[arg-type]
        seen.append(method.weight_now)
    assert start * 0.1 / method.weight_now * (1 + 1e-12) >= 1 / 1.5
    assert start * 0.1 / method.weight_now <= 1.5 * (1 + 1e-12)
    assert seen[-1] == seen[-3]


def test_the_weight_never_runs_away() -> None:
    assert steered(*[9.0] * 40)[-1] == pytest.approx(100)
    assert steered(*[0.1] * 40)[-1] == pytest.approx(1e-4)


def test_a_resumed_run_steers_on_and_all_micro_batches_count(tuned_policy, photos, four) -> None:
    settings = {"source": "photos", "reference_weight": 0.1, "drift_target": 1e-9}
    straight, policy = made(LinearJudge(), **settings), tuned_policy(0.3)
    assert straight.state_dict() == {}
    micro_batches = [straight.losses(policy, None, photos, Rng(3, 5, (n, n + 1, n + 2, n + 3))) for n in (0, 4)]
    reports = list(in_lockstep(micro_batches, lambda values: values.flatten(0, 1)))
    straight.after_update(policy, 0)
    both = torch.cat([report.metrics["drift"] for report in reports if isinstance(report, Report)]).double().mean()
    assert straight._seen == both
    assert straight.weight_now == pytest.approx(0.15)
    resumed = made(LinearJudge(), **settings)
    resumed.load_state_dict(straight.state_dict())
    again, once = (gradient_of(method, tuned_policy(0.3), photos, four) for method in (resumed, straight))
    assert torch.equal(again, once)
    fresh = gradient_of(made(LinearJudge(), **settings), tuned_policy(0.3), photos, four)
    assert not torch.equal(fresh, once)
