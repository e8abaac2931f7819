"""Groups: which sample is which, what is pooled, and who trains when."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from training.contracts import Pool, PromptBatch
from training.methods._advantages import group_advantages
from training.methods._groups import GroupMethod, select
from training.randomness import Rng

BATCH = PromptBatch(["a", "b"], {"text": torch.tensor([[1.0], [2.0]])}, [])


def group(**settings) -> GroupMethod:
    return GroupMethod(**{"preference": "plain", "group_size": 3, "samples_per_call": 4} | settings)


def test_a_sample_has_one_number_wherever_it_is_made() -> None:
    """Sample k of prompt i is i K + k; the prompts 5 and 6 of an update here, on whatever process."""
    pieces = list(group().pieces(BATCH, Rng(1, 2, (5, 6))))
    assert [piece.rng.indices for piece in pieces] == [(15, 16, 17, 18), (19, 20)]
    assert [piece.groups.indices for piece in pieces] == [(5, 5, 5, 6), (6, 6)]
    assert [piece.batch.prompts for piece in pieces] == [["a", "a", "a", "b"], ["b", "b"]]
    assert [piece.batch.conditioning["text"].flatten().tolist() for piece in pieces] == [[1, 1, 1, 2], [2, 2]]
    assert {(piece.rng.seed, piece.rng.update) for piece in pieces} == {(1, 2)}


def test_select_finds_the_prompt_of_a_sample() -> None:
    assert select(BATCH.conditioning, torch.tensor([0, 2, 3, 5]), 3)["text"].flatten().tolist() == [1, 1, 2, 2]


def test_members_take_turns_in_the_steps_of_a_pass() -> None:
    advantages = torch.zeros(6)
    turns = [[places.tolist() for places in calls] for calls in group(minibatches=2, epochs=2).passes(advantages)]
    assert turns == [[[0, 2, 3, 5]], [[1, 4]]] * 2
    assert group(minibatches=2, epochs=2).optimizer_steps == 4
    assert [places.tolist() for places in next(iter(group().passes(advantages)))] == [[0, 1, 2, 3], [4, 5]]


def test_only_a_statistic_over_all_samples_is_pooled() -> None:
    rewards, others = torch.tensor([1.0, 2, 3, 0, 0, 6]), torch.tensor([10.0, 20.0])
    with pytest.raises(StopIteration) as own:
        next(group(advantage_scale="group").advantages(rewards, BATCH))
    assert_close(own.value.value, group_advantages(rewards, 3))
    asking = group(advantage_scale="global").advantages(rewards, BATCH)
    pool = next(asking)
    assert isinstance(pool, Pool)
    assert torch.equal(pool.values, rewards)
    pool.everyone = torch.cat([rewards, others])
    with pytest.raises(StopIteration) as shared:
        next(asking)
    assert_close(shared.value.value, group_advantages(rewards, 3, torch.cat([rewards, others])))


def test_advantages_are_cut_on_both_sides() -> None:
    assert group(advantage_limit=2.0).limited(torch.tensor([-3.0, -1.0, 2.5])).tolist() == [-2, -1, 2]


def test_the_log_names_groups_without_a_difference() -> None:
    rewards, advantages = torch.tensor([1.0, 1, 1, 0, 0, 6]), torch.tensor([0.0, 0, 0, -1, -1, 9])
    found = group(advantage_limit=5.0).summary(rewards, advantages)
    assert found["zero_std"].tolist() == [1, 0]
    assert_close(found["reward_std"], torch.tensor([0, 12**0.5], dtype=torch.float64))
    assert found["advantage"].tolist() == [0, 0, 0, 1, 1, 9]
    assert found["advantage_limited"].mean().item() == pytest.approx(1 / 6)
