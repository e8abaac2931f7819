"""Randomness belongs to a sample: not to a process, a batch, an order of calls or a hash seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.randomness import Rng, key


def test_a_key_is_the_first_63_bits_of_sha256() -> None:
    digest = hashlib.sha256(b"42/3/7/noise").hexdigest()  # another way to the same number
    assert key(42, 3, 7, "noise") == int(digest[:16], 16) // 2


def test_draws_do_not_depend_on_pythonhashseed() -> None:
    code = "from training.randomness import Rng; print(Rng(4, 2, (0, 9)).normal('noise', (3,)).tolist())"
    here = Rng(4, 2, (0, 9)).normal("noise", (3,)).tolist()
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, timeout=120, env={**os.environ, "PYTHONHASHSEED": "123"},
    )  # fmt: skip
    assert there.stdout.strip() == str(here)


@given(indices=st.lists(st.integers(0, 50), min_size=1, max_size=5, unique=True))
def test_a_sample_draws_the_same_in_any_batch(indices: list[int]) -> None:
    together = Rng(1, 2, tuple(indices)).normal("noise", (2, 2))
    for place, index in enumerate(indices):
        assert torch.equal(together[place], Rng(1, 2, (index,)).normal("noise", (2, 2))[0])


def test_the_order_of_draws_is_of_no_consequence() -> None:
    first, second = Rng(1, 2, (3,)), Rng(1, 2, (3,))
    noise, level = first.normal("noise", (2,)), first.integer("level", 5, 995)
    assert torch.equal(second.integer("level", 5, 995), level)
    assert torch.equal(second.normal("noise", (2,)), noise)
    assert torch.equal(second.normal("noise", (2,)), noise)


def test_drawing_leaves_torchs_own_generator_alone() -> None:
    before = torch.random.get_rng_state()
    rng = Rng(1, 2, (3,))
    rng.normal("noise", (2,)), rng.uniform("share"), rng.integer("level", 0, 9)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("other", [Rng(2, 2, (3,)), Rng(1, 3, (3,)), Rng(1, 2, (4,))])
def test_another_seed_update_or_sample_draws_other_numbers(other: Rng) -> None:
    assert not torch.equal(Rng(1, 2, (3,)).normal("noise", (4,)), other.normal("noise", (4,)))


def test_other_names_draw_other_numbers() -> None:
    rng = Rng(1, 2, (3,))
    assert not torch.equal(rng.normal("noise", (4,)), rng.normal("known", (4,)))


def test_shared_noise_is_one_draw_for_all_samples_on_all_processes() -> None:
    here = Rng(1, 2, (0, 1)).normal("noise", (4,), shared=True)
    there = Rng(1, 2, (2, 3)).normal("noise", (4,), shared=True)
    assert torch.equal(here[0], here[1])
    assert torch.equal(here, there)


@given(low=st.integers(-5, 5), width=st.integers(0, 3))
def test_integers_reach_both_ends_and_nothing_else(low: int, width: int) -> None:
    drawn = Rng(0, 0, tuple(range(64))).integer("level", low, low + width)
    assert drawn.dtype == torch.int64
    assert set(drawn.tolist()) == set(range(low, low + width + 1))


@given(low=st.floats(-3, 3), width=st.floats(0.1, 3))
def test_uniform_stays_in_its_range(low: float, width: float) -> None:
    drawn = Rng(0, 0, tuple(range(64))).uniform("share", low, low + width, (3,))
    assert drawn.shape == (64, 3)
    assert drawn.min() >= low - 1e-6
    assert drawn.max() <= low + width + 1e-6
    assert drawn.std() == pytest.approx(width / 12**0.5, rel=0.25)


def test_normal_draws_are_standard_normal_and_independent_between_samples() -> None:
    drawn = Rng(0, 0, tuple(range(200))).normal("noise", (50,))
    assert drawn.mean().abs() < 0.05
    assert drawn.std() == pytest.approx(1.0, abs=0.05)
    assert torch.corrcoef(drawn[:20]).fill_diagonal_(0).abs().max() < 0.6
