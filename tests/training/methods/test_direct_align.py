"""Direct-Align against pencil and paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from training.contracts import PromptBatch, Report
from training.methods.direct_align import DirectAlign, early_weight
from training.randomness import Rng

PLAIN = {"augmentation": 0.0, "rollout_steps": 3, "sigma_weighting": "uniform"}


def run(policy, reward, batch: PromptBatch, rng: Rng, **changes) -> tuple[Tensor, list[Report]]:
    reports = []
    for report in DirectAlign(**PLAIN | changes).losses(policy, reward, batch, rng):
        report.loss.backward()
        reports.append(report)
    return policy.output.grad.clone(), reports


@pytest.mark.parametrize(("share", "weight"), [(0.0, 0.0), (0.25, 0.5), (1.0, 1.0)])
def test_the_early_weight_is_the_published_curve(share: float, weight: float) -> None:
    """Source: w(u) = 3u / (1 + 2u), by hand at three points."""
    assert early_weight(torch.tensor(share)).item() == pytest.approx(weight)


@pytest.mark.parametrize("step", [0.05, 0.1, 0.2])
def test_the_gradient_is_the_gain_times_the_word_difference(
    linear_policy, linear_reward, one_prompt: PromptBatch, one_rng: Rng, step: float
) -> None:
    """Oracle 4 for this method: gain = step / (1 - target sigma), linear in the step at a fixed target."""
    reward = linear_reward()
    sigma_in = 0.6 + step  # so that every step ends at 0.6
    gradient, _ = run(
        linear_policy(), reward, one_prompt, one_rng,
        sigma_low=sigma_in, sigma_high=sigma_in, step_low=step, step_high=step,
    )  # fmt: skip
    difference = reward.direction("3d. a cat") - reward.direction("flat. a cat")
    assert_close(gradient, step / (1 - 0.6) * difference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("preference", "texts"),
    [
        ("relative", [["3d. a cat", "flat. a cat"]]),
        ("positive", [["3d. a cat"]]),
        ("plain", [["a cat"]]),
    ],
)
def test_the_preference_decides_which_texts_are_read(
    linear_policy, linear_reward, one_prompt: PromptBatch, one_rng: Rng, preference: str, texts: list
) -> None:
    reward = linear_reward()
    _, (report,) = run(linear_policy(), reward, one_prompt, one_rng, preference=preference)
    (scores,) = reward.score(reward.seen[0].detach(), reward.target(texts))
    assert reward.texts[0] == texts
    expected = scores[0] - scores[1] if preference == "relative" else scores[0]
    assert report.loss.item() == pytest.approx(-expected.item())


def test_draws_share_one_rollout_and_their_losses_are_a_mean(
    linear_policy, linear_reward, batch: PromptBatch, rng: Rng
) -> None:
    policy = linear_policy()
    _, reports = run(policy, linear_reward(), batch, rng, draws=4)
    assert (len(policy.rollout), len(policy.calls), len(reports)) == (3, 4, 4)
    assert sum(report.loss for report in reports).item() == pytest.approx(
        sum(-report.metrics["reward"].mean() for report in reports).item() / 4
    )
    assert len({report.metrics["sigma"][0].item() for report in reports}) == 4


def test_rollout_and_gradient_have_their_own_guidance(linear_policy, linear_reward, batch: PromptBatch, rng) -> None:
    policy = linear_policy()
    run(policy, linear_reward(), batch, rng, guidance_scale=1.5, rollout_guidance_scale=4.0)
    assert policy.rollout == [4.0] * 3
    assert [call.guidance_scale for call in policy.calls] == [1.5]


def test_levels_stay_in_the_chosen_ranges(linear_policy, linear_reward, batch: PromptBatch) -> None:
    policy = linear_policy()
    for update in range(20):
        run(policy, linear_reward(), batch, Rng(1, update, (0, 1)), sigma_low=0.3, sigma_high=0.5)
    sigmas = torch.cat([call.level.sigma for call in policy.calls])
    assert sigmas.min() >= 0.3
    assert sigmas.max() <= 0.5
    assert sigmas.std() > 0.04


def test_a_step_past_the_image_ends_at_the_image(linear_policy, linear_reward, one_prompt, one_rng: Rng) -> None:
    """Oracle 3 through the method: the target is sigma 0, the gain on a velocity is sigma_in itself, as in ReFL."""
    reward = linear_reward()
    gradient, _ = run(
        linear_policy(), reward, one_prompt, one_rng,
        sigma_low=0.2, sigma_high=0.2, step_low=0.3, step_high=0.3, preference="plain",
    )  # fmt: skip
    assert_close(gradient, 0.2 * reward.direction("a cat"), rtol=1e-4, atol=1e-6)


def test_a_straight_model_sees_its_own_picture_with_coupled_noise_only(
    linear_policy, linear_reward, batch, rng
) -> None:
    """Oracle 12 through the method."""
    _, (coupled,) = run(linear_policy(), linear_reward(), batch, rng)
    _, (fresh,) = run(linear_policy(), linear_reward(), batch, rng, noise_coupling="fresh")
    assert coupled.metrics["recover_error"].max() < 1e-5
    assert fresh.metrics["recover_error"].min() > 1e-3


def test_late_levels_weigh_less_when_weighted_early(linear_policy, linear_reward, one_prompt: PromptBatch) -> None:
    for update in range(5):
        rng = Rng(2, update, (0,))
        even, _ = run(linear_policy(), linear_reward(), one_prompt, rng)
        early, _ = run(linear_policy(), linear_reward(), one_prompt, rng, sigma_weighting="early")
        weight = early_weight(rng.uniform("sigma.0")).item()
        assert_close(early, weight * even, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("changes", [{"sigma_low": 0.8, "sigma_high": 0.5}, {"step_low": 0.4, "step_high": 0.1}])
def test_ranges_the_wrong_way_round_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match="must hold"):
        DirectAlign(**changes)
