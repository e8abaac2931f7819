"""DSPO: the three numbers are the squared norm they stand for."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from training.methods._denoising import mean_square
from training.methods.dspo import Dspo
from training.methods.sft import Sft

from .conftest import run, sides_of


def test_the_loss_is_the_norm_of_the_published_residual(tuned_policy, pairs, four) -> None:
    method, policy = Dspo(beta=6, pull=0.7), tuned_policy(0.5)
    _, numbers = run(method, policy, pairs, four)
    sides = sides_of(method, policy, pairs, four)
    c = 0.7 * (1 - torch.sigmoid(method.logits(sides, pairs))).detach()
    residual = sides.chosen.miss - c.view(-1, 1, 1, 1) * (sides.chosen.miss - sides.chosen.reference_miss)
    assert_close(numbers["pull"], c)
    assert_close(numbers["loss"], mean_square(residual).mean(), rtol=1e-6, atol=1e-9)


def test_without_pull_it_is_plain_learning_of_the_chosen_side(tuned_policy, pairs, photos, four) -> None:
    preferred, _ = run(Dspo(pull=0), tuned_policy(0.5), pairs, four)
    plain, _ = run(Sft(), tuned_policy(0.5), photos, four)
    assert_close(preferred, plain, rtol=1e-6, atol=1e-9)


def test_a_pair_that_is_told_apart_pulls_less(tuned_policy, pairs, four) -> None:
    _, numbers = run(Dspo(beta=50, pull=1), tuned_policy(0.5), pairs, four)
    order = numbers["logit"].argsort()
    assert (numbers["pull"][order].diff() < 0).all()
