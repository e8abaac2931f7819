"""SRPO's ends and its log: what no gradient of one sample shows."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from training.contracts import PromptBatch
from training.methods.srpo import Srpo
from training.randomness import Rng
from training.schedules import Level


def test_the_discounts_reach_their_ends_at_the_ends_of_the_grid() -> None:
    """m = T - 1 is the noisy end: exactly positive_early; inversion reads one entry (its width) before."""
    method = Srpo(levels=20, known_share=0.9)
    denoise, inversion = method.draw_branches(torch.tensor([19, 1]))
    assert denoise.weights[:, 0].tolist() == pytest.approx([1.25, 1 + 0.1 + 0.15 / 19])
    assert inversion.weights[:, 1].tolist() == pytest.approx([1.3 - 0.29 * 18 / 19, 1.3])


@pytest.mark.parametrize("recover", ["code", "paper"])
def test_the_logged_gain_is_that_of_the_chosen_form(
    linear_policy, linear_reward, batch: PromptBatch, rng: Rng, recover: str
) -> None:
    """rho_in - rho at the target, or (sigma_in - sigma) / (1 - sigma_in) of equation 5: negative where it inverts."""
    method = Srpo(augmentation=0, rollout_steps=3, recover=recover)
    (report,) = method.losses(linear_policy(), linear_reward(), batch, rng)
    for branch in method.draw_branches(rng.integer("level", 5, 995)):
        start, target = branch.sigma_in, branch.target
        code, paper = start / (1 - start) - target / (1 - target), (start - target) / (1 - start)
        assert_close(report.metrics[f"{branch.name}.gain"], code if recover == "code" else paper)
        assert bool((report.metrics[f"{branch.name}.gain"] > 0).all()) is (branch.name == "denoise")


@pytest.mark.parametrize("branches", ["batched", "sequential"])
def test_every_picture_is_predicted_under_its_own_prompt(
    linear_policy, linear_reward, batch: PromptBatch, rng: Rng, branches: str
) -> None:
    asked = []

    class Listening(linear_policy):
        def predict(self, x_t, level: Level, conditioning, guidance_scale: float = 1.0):
            if torch.is_grad_enabled():
                asked.append((len(x_t), conditioning["text"].flatten().tolist()))
            return super().predict(x_t, level, conditioning, guidance_scale)

    told = PromptBatch(batch.prompts, {"text": torch.tensor([[1.0], [2.0]])}, batch.words)
    list(Srpo(augmentation=0, rollout_steps=3, branches=branches).losses(Listening(), linear_reward(), told, rng))
    assert asked == ([(4, [1, 2, 1, 2])] if branches == "batched" else [(2, [1, 2])] * 2)
