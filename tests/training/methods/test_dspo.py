"""DSPO: the three numbers are the squared norm they stand for."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from training.methods._denoising import mean_square
from training.methods.dspo import Dspo
from training.methods.sft import Sft

from .conftest import run, sides_of


@pytest.mark.parametrize(("smoothing", "margin", "anchor"), [(0.0, 0.0, 0.0), (0.2, 0.3, 0.5)])
def test_the_loss_is_the_norm_of_the_published_residual(
    tuned_policy, uneven_pairs, four, smoothing: float, margin: float, anchor: float
) -> None:
    """c = pull (1 - sigmoid(s)), s less its margins; with a share ζ of pairs swapped, pull (½ - (½ - ζ) tanh(s/2))."""
    method = Dspo(beta=6, pull=0.7, label_smoothing=smoothing, logit_margin=margin, sft_weight=anchor)
    policy = tuned_policy(0.5)
    _, numbers = run(method, policy, uneven_pairs, four)
    chosen = sides_of(method, policy, uneven_pairs, four).chosen
    wanted = numbers["logit"] - margin - uneven_pairs.margins
    c = 0.7 * (0.5 - (0.5 - smoothing) * torch.tanh(wanted / 2))
    residual = chosen.miss - c.view(-1, 1, 1, 1) * (chosen.miss - chosen.reference_miss)
    each = mean_square(residual) + anchor * chosen.error.detach()
    assert_close(numbers["pull"], c)
    assert_close(numbers["loss"], (uneven_pairs.weights * each).mean(), rtol=1e-6, atol=1e-9)


def test_without_pull_it_is_plain_learning_of_the_chosen_side(tuned_policy, pairs, photos, four) -> None:
    preferred, _ = run(Dspo(pull=0), tuned_policy(0.5), pairs, four)
    plain, _ = run(Sft(), tuned_policy(0.5), photos, four)
    assert_close(preferred, plain, rtol=1e-6, atol=1e-9)


def test_a_pair_that_is_told_apart_pulls_less(tuned_policy, pairs, four) -> None:
    _, numbers = run(Dspo(beta=50, pull=1), tuned_policy(0.5), pairs, four)
    order = numbers["logit"].argsort()
    assert (numbers["pull"][order].diff() < 0).all()
