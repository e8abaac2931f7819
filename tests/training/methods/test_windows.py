"""Which steps are noisy, which are trained."""

from __future__ import annotations

from itertools import groupby

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.methods._windows import Windowed
from training.randomness import Rng


def choose(steps: int, update: int = 0, **settings) -> tuple[torch.Tensor, torch.Tensor]:
    rng, groups = Rng(1, update, tuple(range(8))), Rng(1, update, (0, 0, 0, 0, 1, 1, 1, 1))
    return Windowed(**settings).choose(steps, rng, groups)


def test_all_trains_every_step_but_the_last() -> None:
    """Flow-GRPO: 9 of 10."""
    trained, noisy = choose(10, window="all")
    assert trained.tolist() == [list(range(9))] * 8
    assert noisy.tolist() == [[True] * 9 + [False]] * 8


def test_fraction_is_noisy_everywhere_and_draws_each_samples_own_steps() -> None:
    """DanceGRPO: 60 % of 15."""
    trained, noisy = choose(16, window="fraction", trained_share=0.6)
    assert trained.shape == (8, 9)
    assert noisy[:, :15].all()
    assert not noisy[:, 15].any()
    assert len({tuple(row) for row in trained.tolist()}) > 1
    assert all(row == sorted(set(row)) and row[-1] <= 14 for row in trained.tolist())
    drawn = torch.cat([choose(16, update, window="fraction")[0].flatten() for update in range(40)])
    assert (torch.bincount(drawn, minlength=15) / len(drawn)).sub(1 / 15).abs().max() < 0.015


def test_a_random_window_belongs_to_the_prompt_and_lies_in_the_noisy_part() -> None:
    """Flow-GRPO-Fast: 3 steps of the first 5."""
    firsts = set()
    for update in range(30):
        trained, noisy = choose(10, update, window="random")
        assert len({tuple(row) for row in trained[:4].tolist()}) == 1
        assert torch.equal(noisy.nonzero()[:, 1].reshape(8, 3), trained)
        firsts |= {(trained[0, 0].item(), trained[4, 0].item())}
        assert trained.max() <= 4
    assert {first for pair in firsts for first in pair} == {0, 1, 2}
    assert any(one != other for one, other in firsts)


def test_a_sliding_window_walks_to_the_last_noisy_step_and_begins_again() -> None:
    """MixGRPO: 4 of 25 steps, one further every 25 updates."""
    firsts = [choose(25, update, window="sliding", window_size=4)[0][0, 0].item() for update in range(0, 25 * 22, 25)]
    assert firsts == [*range(21), 0]
    assert choose(25, 24, window="sliding", window_size=4)[0][0].tolist() == [0, 1, 2, 3]
    wide = {"window": "sliding", "window_size": 4, "window_stride": 3, "window_every": 10}
    assert [choose(25, update, **wide)[0][0, 0].item() for update in (9, 10, 20, 70)] == [0, 3, 6, 0]
    trained, noisy = choose(25, 25, window="sliding", window_size=4)
    assert torch.equal(noisy.nonzero()[:, 1].reshape(8, 4), trained)


@pytest.mark.parametrize("window", ["random", "sliding"])
def test_a_window_wider_than_the_rollout_is_all_of_it(window: str) -> None:
    trained, _ = choose(3, window=window, window_size=50)
    assert trained.tolist() == [[0, 1]] * 8


def places(updates: int, **settings) -> list[int]:
    """Where the window begins in each update, in a rollout of 25 steps with 4 in the window: 0 … 20."""
    fields = {"window": "sliding", "window_size": 4} | settings
    return [choose(25, update, **fields)[0][0, 0].item() for update in range(updates)]


def stays(seen: list[int]) -> list[tuple[int, int]]:
    """(place, updates in a row) of a walk."""
    return [(place, len(list(group))) for place, group in groupby(seen)]


def test_an_exponential_pace_hurries_beyond_the_thirteenth_step() -> None:
    """25 exp(-0.1 ReLU(l - 13)): 25 up to step 13, then 23, 20, 19, 17, 15, 14, 12."""
    seen = stays(places(25 * 14 + 120 + 1, window_pace="exp_decay"))
    assert seen[:14] == [(place, 25) for place in range(14)]
    assert seen[14:21] == list(zip(range(14, 21), (23, 20, 19, 17, 15, 14, 12), strict=True))
    assert seen[21] == (0, 1)  # and from the start


def test_an_even_fall_begins_and_ends_as_it_is_set() -> None:
    seen = stays(places(25 + 20 * 15 + 200, window_every=25, window_least=5, window_pace="decay"))
    assert seen[:21] == [(place, 25 - place) for place in range(21)]
    assert seen[21][0] == 0


@given(
    pace=st.sampled_from(["even", "decay", "exp_decay"]), stride=st.integers(1, 30), every=st.integers(1, 40),
    least=st.integers(1, 40), size=st.integers(1, 30), steps=st.integers(2, 30), update=st.integers(0, 5000),
)  # fmt: skip
def test_every_pace_keeps_to_the_steps_and_comes_back(pace, stride, every, least, size, steps, update) -> None:
    settings = {"window_stride": stride, "window_every": every, "window_least": least, "window_size": size}
    window = Windowed(window="sliding", window_pace=pace, **settings)
    rng = Rng(1, update, (0,))
    trained, _ = window.choose(steps, rng, rng)
    assert trained.shape == (1, min(size, steps - 1))
    assert 0 <= trained.min() <= trained.max() <= steps - 2
    last = steps - 1 - min(size, steps - 1)
    if pace == "even":
        assert trained[0, 0] == update // every * stride % (last + 1)
