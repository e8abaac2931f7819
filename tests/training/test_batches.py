"""Which sample an update sees is a function of the seed, not of how many processes share the work."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolkit.words import WordPair
from training.batches import PromptBatches, Sharding

PROMPTS = [f"prompt {number}" for number in range(7)]
PAIR = WordPair(positive="3d", negative="flat")


def encode(prompts) -> dict[str, torch.Tensor]:
    return {"length": torch.tensor([[float(len(prompt))] for prompt in prompts])}


def batches(prompts=PROMPTS, words=(PAIR,), *, size: int = 2, accumulation: int = 1, seed: int = 5, shard=(0, 1)):
    return PromptBatches(
        prompts, words, encode, batch_size=size, accumulation=accumulation, seed=seed, sharding=Sharding(*shard)
    )


def prompts_of(source: PromptBatches, updates: int, accumulation: int = 1) -> list[str]:
    return [
        prompt
        for update in range(updates)
        for micro in range(accumulation)
        for prompt in source.micro_batch(update, micro)[0].prompts
    ]


@given(size=st.integers(1, 5), accumulation=st.integers(1, 3), count=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_epoch_shows_every_prompt_once(size: int, accumulation: int, count: int, seed: int) -> None:
    known = [f"p{number}" for number in range(count)]
    source = batches(known, size=size, accumulation=accumulation, seed=seed)
    seen = prompts_of(source, updates=count, accumulation=accumulation)
    epochs = [seen[start : start + count] for start in range(0, len(seen) - count + 1, count)]
    assert len(epochs) == size * accumulation
    assert all(sorted(epoch) == sorted(known) for epoch in epochs)


def test_epochs_differ_in_their_order_and_so_do_seeds() -> None:
    seen = prompts_of(batches(size=7), updates=4)
    assert len({tuple(seen[start : start + 7]) for start in range(0, 28, 7)}) > 1
    assert seen != prompts_of(batches(size=7, seed=6), updates=4)


@given(processes=st.integers(1, 4), accumulation=st.integers(1, 3), update=st.integers(0, 20))
def test_many_processes_see_what_one_sees_with_accumulation(processes: int, accumulation: int, update: int) -> None:
    alone = batches(accumulation=processes * accumulation)
    expected = [alone.micro_batch(update, micro) for micro in range(processes * accumulation)]
    shared = [
        batches(accumulation=accumulation, shard=(rank, processes)).micro_batch(update, micro)
        for micro in range(accumulation)
        for rank in range(processes)
    ]
    assert [batch.prompts for batch, _ in shared] == [batch.prompts for batch, _ in expected]
    assert [batch.words for batch, _ in shared] == [batch.words for batch, _ in expected]
    assert [rng for _, rng in shared] == [rng for _, rng in expected]


def test_the_samples_of_an_update_are_numbered_without_gap_or_repetition() -> None:
    shards = [batches(accumulation=2, shard=(rank, 3)) for rank in range(3)]
    numbers = [number for source in shards for micro in range(2) for number in source.micro_batch(4, micro)[1].indices]
    assert sorted(numbers) == list(range(12))


def test_asking_twice_gives_the_same_batch() -> None:
    source = batches(words=[PAIR, WordPair(positive="sharp", negative="blurry")])
    (first, first_rng), (second, second_rng) = source.micro_batch(3, 0), source.micro_batch(3, 0)
    assert (first.prompts, first.words, first_rng) == (second.prompts, second.words, second_rng)


def test_word_pairs_are_drawn_by_their_weights() -> None:
    pairs = [
        WordPair(positive="3d", negative="flat", weight=6),
        WordPair(positive="sharp", negative="blurry", weight=3),
        WordPair(positive="warm", negative="cold", weight=1),
    ]
    source = batches(words=pairs, size=50)
    drawn = Counter(pair.positive for update in range(40) for pair in source.micro_batch(update, 0)[0].words)
    shares = {name: count / 2000 for name, count in drawn.items()}
    assert shares == pytest.approx({"3d": 0.6, "sharp": 0.3, "warm": 0.1}, abs=0.03)


def test_a_method_without_words_gets_none() -> None:
    assert batches(words=[]).micro_batch(0, 0)[0].words == []
