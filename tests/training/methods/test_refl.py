"""ReFL against pencil and paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from training import interpolants, rollout
from training.contracts import PromptBatch, Report
from training.methods.refl import Refl
from training.randomness import Rng
from training.schedules import sigma_grid

PLAIN = {"augmentation": 0.0, "margin": None, "loss_scale": 1.0, "preference": "plain"}


def run(policy, reward, batch: PromptBatch, rng: Rng, **changes) -> tuple[Tensor, Report]:
    (report,) = Refl(**PLAIN | changes).losses(policy, reward, batch, rng)
    report.loss.backward()
    return policy.output.grad.clone(), report


def test_the_defaults_are_the_published_constants() -> None:
    """Source: 40 steps, gradient at one of 30 to 39, margin 2, weight 1e-3."""
    method = Refl()
    assert (method.rollout_steps, method.first_step, method.last_step) == (40, 30, 39)
    assert (method.margin, method.loss_scale) == (2.0, 1e-3)


@pytest.mark.parametrize("step", [0, 5, 9])
def test_the_gradient_is_sigma_times_the_rewards_own(
    linear_policy, linear_reward, one_prompt: PromptBatch, one_rng: Rng, step: int
) -> None:
    """x0 = x - sigma v, so d(-R)/dv = sigma grad R."""
    policy, reward = linear_policy(), linear_reward()
    gradient, _ = run(policy, reward, one_prompt, one_rng, rollout_steps=10, first_step=step, last_step=step)
    assert (len(policy.rollout), len(policy.calls)) == (step, 1)
    assert_close(gradient, (1 - step / 10) * reward.direction("a cat"), rtol=1e-4, atol=1e-6)


def test_the_picture_is_recover_at_sigma_zero(bending_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 3 through the method: ReFL is `recover` with target 0, whatever noise is held against it."""
    policy, reward = bending_policy(), linear_reward()
    run(policy, reward, batch, rng, rollout_steps=8, first_step=4, last_step=7)
    (call,) = policy.calls
    with torch.no_grad():
        estimate = policy.predict(call.x_t, call.level, {})
    zero = torch.zeros(2)
    for noise in (torch.zeros_like(call.x_t), torch.full_like(call.x_t, 9.0)):
        assert torch.equal(interpolants.recover(estimate, noise, zero + 1, zero), reward.seen[0].detach())


def test_every_sample_stops_at_its_own_step_of_its_own_path(bending_policy, linear_reward, batch: PromptBatch) -> None:
    rng = Rng(1, 1, (0, 1))
    policy = bending_policy()
    run(policy, linear_reward(), batch, rng, rollout_steps=12, first_step=0, last_step=11)
    stops = rng.integer("stop", 0, 11)
    assert stops[0] != stops[1]
    noise = rng.normal("noise", policy.latent_shape)
    walked = rollout.trajectory(policy, noise, {}, sigma_grid(12))
    (call,) = policy.calls
    for sample, stop in enumerate(stops.tolist()):
        assert_close(call.x_t[sample], walked[stop][sample])
        assert call.level.sigma[sample].item() == pytest.approx(1 - stop / 12)


def test_rollout_and_gradient_have_their_own_guidance(linear_policy, linear_reward, batch: PromptBatch, rng) -> None:
    policy = linear_policy()
    run(policy, linear_reward(), batch, rng, guidance_scale=1.5, rollout_guidance_scale=4.0)
    assert set(policy.rollout) == {4.0}
    assert [call.guidance_scale for call in policy.calls] == [1.5]


def test_only_the_chosen_late_steps_are_trained(linear_policy, linear_reward, batch: PromptBatch) -> None:
    policy = linear_policy()
    for update in range(15):
        run(policy, linear_reward(), batch, Rng(1, update, (0, 1)), rollout_steps=10, first_step=6, last_step=8)
    seen = {round(sigma, 4) for call in policy.calls for sigma in call.level.sigma.tolist()}
    assert seen == {0.4, 0.3, 0.2}


def test_a_satisfied_hinge_gives_no_gradient(linear_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 17 for ReFL."""
    satisfied, report = run(linear_policy(), linear_reward(), batch, rng, margin=-1e4)
    assert satisfied.abs().max() == 0
    assert report.loss.item() == 0
    hungry, _ = run(linear_policy(), linear_reward(), batch, rng, margin=1e4)
    free, _ = run(linear_policy(), linear_reward(), batch, rng)
    assert_close(hungry, free)


def test_the_loss_scale_scales_the_gradient(linear_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    whole, _ = run(linear_policy(), linear_reward(), batch, rng)
    small, _ = run(linear_policy(), linear_reward(), batch, rng, loss_scale=1e-3)
    assert_close(small, 1e-3 * whole)


@pytest.mark.parametrize("changes", [{"first_step": 39, "last_step": 30}, {"rollout_steps": 20}])
def test_steps_outside_the_rollout_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match="must hold"):
        Refl(**changes)
