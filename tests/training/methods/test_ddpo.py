"""DDPO: what a prompt's own history makes of its rewards."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from training.contracts import Pool, PromptBatch
from training.methods.ddpo import Ddpo, extended


def advantages(method: Ddpo, prompts: list[str], rewards: list[float], others: list[float] | None = None):
    """others: rewards of prompts `x` in further micro-batches."""
    batch = PromptBatch(prompts, {}, [])
    events, answers = method.advantages(torch.tensor(rewards, dtype=torch.float64), batch), []
    try:
        pool = next(events)
        while True:
            assert isinstance(pool, Pool)
            whole = [1] * len(others or []) if pool.values.dtype == torch.int64 else (others or [])
            pool.everyone = torch.cat([pool.values, torch.tensor(whole, dtype=pool.values.dtype)])
            answers.append(pool)
            pool = next(events)
    except StopIteration as end:
        return end.value


def test_the_defaults_are_the_published_constants() -> None:
    method = Ddpo()
    assert (method.dynamics, method.noise_level, method.rollout_steps, method.guidance_scale) == ("ddim", 1.0, 50, 5.0)
    assert (method.clip_range, method.advantage_limit, method.history, method.least_history) == (1e-4, 10.0, 16, 16)


def test_a_new_prompt_is_held_against_all_samples_of_the_update() -> None:
    found = advantages(Ddpo(), ["a", "b"], [1.0, 3.0], others=[5.0, 7.0])
    spread = 5**0.5 + 1e-4  # of 1, 3, 5, 7 about 4
    assert_close(found, torch.tensor([-3.0, -1.0], dtype=torch.float64) / spread)


def test_a_known_prompt_is_held_against_its_own_newest_rewards() -> None:
    method = Ddpo(history=4, least_history=3)
    for reward in (100.0, 1.0, 2.0, 3.0):
        advantages(method, ["a", "b"], [reward, 0.0])
        method.after_update(None, 0)
    found = advantages(method, ["a", "b"], [6.0, 9.0])  # a: 1, 2, 3, 6; the 100 is forgotten
    assert found[0].item() == pytest.approx(3 / (3.5**0.5 + 1e-4))
    assert found[1].item() == pytest.approx((9 - 2.25) / ((9**2 * 3 / 16) ** 0.5 + 1e-4))  # 0, 0, 0, 9


def test_an_update_that_was_not_finished_leaves_no_trace() -> None:
    method = Ddpo(history=4, least_history=2)
    advantages(method, ["a"], [1.0])
    assert method.state_dict() == {}
    advantages(method, ["a"], [1.0])
    method.after_update(None, 0)
    assert method.state_dict()["rewards"].tolist() == [1.0]


def test_what_it_remembers_comes_back() -> None:
    method, other = Ddpo(history=3), Ddpo(history=3)
    for number in range(5):
        advantages(method, ["a", f"prompt {number}"], [0.1 * number, float(number)])
        method.after_update(None, number)
    other.load_state_dict(method.state_dict())
    assert other._histories == method._histories
    assert list(other._histories) == list(method._histories)
    fresh = Ddpo()
    fresh.load_state_dict({})
    assert fresh.state_dict() == {}


def test_histories_keep_the_newest() -> None:
    grown = extended({1: [1.0, 2.0]}, [1, 2, 1], [3.0, 9.0, 4.0], 3)
    assert grown == {1: [2.0, 3.0, 4.0], 2: [9.0]}
