"""DRaFT-K and DRaFT-LV against ReFL, against each other and against plain backpropagation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny.trajectories import CurvedReward, descend, schedule_of, unrolled
from torch import Tensor
from torch.testing import assert_close

from training.contracts import PromptBatch, Report
from training.methods.draft import Draft
from training.methods.refl import Refl
from training.randomness import Rng
from training.schedules import sigma_grid

PLAIN = {"augmentation": 0.0, "preference": "plain", "rollout_steps": 8}


def run(policy, batch: PromptBatch, rng: Rng, **changes: Any) -> tuple[Tensor, list[Report]]:
    return descend(policy, Draft(**PLAIN | changes).losses(policy, CurvedReward(), batch, rng))


def plain_gradient(policy, batch: PromptBatch, rng: Rng, first: int) -> Tensor:
    noise, reward = rng.normal("noise", policy.latent_shape), CurvedReward()
    picture = unrolled(policy, noise, sigma_grid(8), first)
    score = reward.score(picture, reward.target([[prompt] for prompt in batch.prompts]))
    return torch.autograd.grad(-score.mean(), policy.output)[0]


def test_the_defaults_are_the_published_constants() -> None:
    """Source: 50 steps, the last of them trained."""
    assert (Draft().rollout_steps, Draft().k, Draft().lv_draws, Draft().margin) == (50, 1, 0, None)


@pytest.mark.parametrize("parametrisation", ["velocity", "epsilon"])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_last_k_steps_are_those_of_backpropagation(bending_policy, batch, rng: Rng, k: int, parametrisation: str):
    """Oracle 10: K = T equals full backpropagation; K of them equal truncated backpropagation."""
    policy = bending_policy(parametrisation=parametrisation, schedule=schedule_of(parametrisation))
    gradient, reports = run(policy, batch, rng, k=k, shift=1.0)
    assert len(reports) == k
    assert_close(gradient, plain_gradient(policy, batch, rng, 8 - k), rtol=1e-9, atol=1e-12)


def test_the_last_step_alone_is_refl_there(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 10: K = 1 with the last level 0 is ReFL at the last step."""
    policy = bending_policy(schedule=schedule_of("velocity"))
    refl = Refl(**PLAIN, first_step=7, last_step=7, margin=None, loss_scale=1.0)
    expected, _ = descend(policy, refl.losses(policy, CurvedReward(), batch, rng))
    gradient, (report,) = run(policy, batch, rng)
    assert_close(gradient, expected, rtol=1e-7, atol=1e-10)
    assert report.metrics["sigma"].tolist() == pytest.approx([1 / 8] * 2)


class Given(Rng):
    """The noises of DRaFT-LV are the one that the sampler itself stands on."""

    noise: Tensor

    def normal(self, name: str, shape, *, shared: bool = False) -> Tensor:
        return self.noise if name.startswith("lv.") else super().normal(name, shape, shared=shared)


def test_one_draw_with_the_samplers_own_noise_is_the_last_step(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 11: n = 1 with noise (x_1 - alpha_1 x_0) / sigma_1 reproduces DRaFT-1."""
    policy = bending_policy(schedule=schedule_of("velocity"))
    path = Draft(**PLAIN).walk(policy, batch, rng)
    given = Given(rng.seed, rng.update, rng.indices)
    object.__setattr__(given, "noise", (path.states[-2] - 7 / 8 * path.picture) / (1 / 8))
    expected, _ = run(policy, batch, rng)
    gradient, _ = run(policy, batch, given, lv_draws=1)
    assert_close(gradient, expected, rtol=1e-7, atol=1e-10)


def test_the_variance_falls_with_the_draws(bending_policy, batch: PromptBatch) -> None:
    """Oracle 11: at a fixed picture, as 1 / n: the mean of n single draws is the gradient of n together."""

    class Fixed(Rng):
        def normal(self, name: str, shape, *, shared: bool = False) -> Tensor:
            of = Rng(0, 0, self.indices) if name == "noise" else super()
            return of.normal(name, shape, shared=shared)

    policy = bending_policy()
    spread = {}
    for draws in (1, 4):
        gradients = [run(policy, batch, Fixed(3, update, (0, 1)), lv_draws=draws)[0] for update in range(120)]
        spread[draws] = torch.stack(gradients).var(dim=0).sum().item()
    assert spread[1] / spread[4] == pytest.approx(4, rel=0.25)


def test_draws_are_a_mean_of_fresh_noises_on_one_picture(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    policy = bending_policy()
    _, reports = run(policy, batch, rng, lv_draws=3, loss_scale=2.0)
    assert len(reports) == 3
    total = sum(report.loss for report in reports).item()
    assert total == pytest.approx(-2.0 * sum(report.metrics["reward"].mean() for report in reports).item() / 3)
    inputs = torch.stack([call.x_t for call in policy.calls])
    assert len(policy.rollout) == 8
    assert not inputs.requires_grad
    noises = (inputs - 7 / 8 * Draft(**PLAIN).walk(policy, batch, rng).picture) / (1 / 8)
    assert noises.std().item() == pytest.approx(1, abs=0.3)
    assert not torch.equal(inputs[0], inputs[1])


def test_both_forms_let_satisfied_pictures_be(bending_policy, batch: PromptBatch, rng: Rng) -> None:
    for draws in (0, 2):
        gradient, _ = run(bending_policy(), batch, rng, lv_draws=draws, margin=-1e4)
        assert gradient.abs().max() == 0


@pytest.mark.parametrize("lv_draws", [0, 1])
def test_rollout_and_gradient_have_their_own_guidance(bending_policy, batch, rng: Rng, lv_draws: int) -> None:
    policy = bending_policy()
    run(policy, batch, rng, lv_draws=lv_draws, guidance_scale=1.5, rollout_guidance_scale=4.0)
    assert set(policy.rollout) == {4.0}
    assert [call.guidance_scale for call in policy.calls] == [1.5]


@pytest.mark.parametrize(
    ("changes", "match"), [({"k": 9}, "k <= rollout_steps"), ({"k": 2, "lv_draws": 2}, "k = 1 must hold")]
)
def test_contradictions_are_refused(changes: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Draft(**PLAIN | changes)
