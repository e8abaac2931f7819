"""SmPO: logits scaled by how sure the scorer was."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from training.methods.inpo import Inpo
from training.methods.smpo import Smpo

from .conftest import run


def test_the_logit_is_inpos_times_gamma_times_confidence(tuned_policy, pairs, four) -> None:
    """2p - 1 with p the softmax of the two scores."""
    base = Inpo(beta=5, inversion_steps=9, renoise=True)
    _, plain = run(base, tuned_policy(0.3), pairs, four)
    _, smooth = run(Smpo(beta=5, smoothing=4), tuned_policy(0.3), pairs, four)
    confidence = 2 * torch.softmax(pairs.scores, dim=1)[:, 0] - 1
    assert_close(smooth["logit"], 4 * confidence * plain["logit"])


def test_equal_scores_teach_nothing_and_swapped_ones_the_contrary(tuned_policy, pairs, four) -> None:
    equal, _ = run(Smpo(beta=5), tuned_policy(0.3), replace(pairs, scores=torch.full((4, 2), 0.4)), four)
    assert equal.abs().max() == 0
    _, there = run(Smpo(beta=5), tuned_policy(0.3), pairs, four)
    _, back = run(Smpo(beta=5), tuned_policy(0.3), replace(pairs, scores=pairs.scores.flip(1)), four)
    assert_close(there["logit"], -back["logit"])


def test_its_defaults_are_the_published_ones() -> None:
    method = Smpo()
    assert (method.inversion_steps, method.renoise, method.smoothing) == (9, True, 10)
    assert "scores" in method.needs
    with pytest.raises(ValueError, match="greater than 0"):
        Smpo(smoothing=0)
