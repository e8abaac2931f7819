"""Pairs that are never trained on: kept apart by prompt, all seen equally often, in silence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st

from toolkit import recipe
from toolkit.errors import UsageError
from toolkit.pairs import Pair, Picture
from training import build
from training.examination import GLANCES, LEAST_PROMPTS, WATCHED, Examination, batch_size, split
from training.picture_batches import PairBatches
from training.trainer import Parts


def pair(number: int, prompt: str) -> Pair:
    return Pair(prompt, Picture(Path(f"{number}.png")), Picture(Path(f"{number + 100}.png")))


def pairs_of(prompts: int, each: int = 2) -> list[Pair]:
    return [pair(number, f"p{number % prompts}") for number in range(prompts * each)]


def prompts(items) -> set[str]:
    return {item.prompt for item in items}


@given(count=st.integers(2, 80), share=st.floats(0.01, 0.5), seed=st.integers(0, 9))
def test_a_prompt_is_learned_or_held_out_never_both(count: int, share: float, seed: int) -> None:
    items = pairs_of(count)
    learned, unseen = split(items, share, seed=seed)
    assert not prompts(learned) & prompts(unseen)
    assert sorted([*learned, *unseen], key=items.index) == items
    assert len(prompts(unseen)) == max(1, round(share * count))
    assert split(list(reversed(items)), share, seed=seed)[1] == list(reversed(unseen))


def test_unasked_a_tenth_is_held_out_where_there_are_prompts_enough() -> None:
    assert split(pairs_of(LEAST_PROMPTS - 1), None, seed=1)[1] == []
    assert len(split(pairs_of(LEAST_PROMPTS), None, seed=1)[1]) == 2 * 5
    assert len(prompts(split(pairs_of(1000), None, seed=1)[1])) == 32
    assert len(prompts(split(pairs_of(1000), 0.1, seed=1)[1])) == 100
    assert split(pairs_of(LEAST_PROMPTS), 0.0, seed=1) == (pairs_of(LEAST_PROMPTS), [])
    with pytest.raises(UsageError, match="same prompt, so none can be kept back"):
        split(pairs_of(1), 0.1, seed=1)


class Echo:
    """A method that knows only which pair it is shown, and under which noise."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, float]] = []

    def examine(self, policy, batch, rng) -> dict[str, torch.Tensor]:
        numbers = batch.chosen[:, 0]
        self.shown += zip(batch.prompts, rng.normal("noise", ()).tolist(), strict=True)
        return {name: numbers * (place + 1) for place, name in enumerate(WATCHED)}


def latents(pictures) -> torch.Tensor:
    return torch.tensor([[float(picture.path.stem)] for picture in pictures])


@given(count=st.integers(1, 30), most=st.integers(1, 9))
def test_every_pair_is_seen_equally_often_and_alike_at_every_check(count: int, most: int) -> None:
    size, method = batch_size(count, most), Echo()
    assert 1 <= size <= most
    batches = PairBatches(
        pairs_of(count, 1), [], lambda texts: {}, latents, batch_size=size, accumulation=1, seed=5
    )  # fmt: skip
    exam = Examination(method, None, batches, count * GLANCES // size)  # type: ignore[arg-type]
    first, seen = exam(), list(method.shown)
    assert set(Counter(prompt for prompt, _ in seen).values()) == {GLANCES}
    assert len({noise for _, noise in seen}) == len(seen)  # each glance has a noise of its own
    assert first["held_out_accuracy"] == pytest.approx((count - 1) / 2)
    assert first["held_out_gap_rejected"] == pytest.approx(3 * (count - 1) / 2)
    assert exam() == first
    assert method.shown[len(seen) :] == seen


# ── in a run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def parts_of(data: dict, method: str = "dpo") -> Parts:
    content = {"method": method, "data": data, "training": {"batch_size": 3}, "lora": {"rank": 2}}
    return build.parts(recipe.parse(content), Accelerator(cpu=True))


def test_a_run_never_learns_from_what_it_holds_out_and_learns_the_same_from_the_rest(
    tmp_path: Path, folder_of_pairs
) -> None:
    with_check = parts_of({"pairs": folder_of_pairs(tmp_path / "all", range(10)), "held_out": 0.3})
    learned = {prompt for update in range(7) for prompt in with_check.batches.micro_batch(update, 0)[0].prompts}
    assert len(learned) == 7
    left = [number for number in range(10) if f"thing number {number}" in learned]
    without = parts_of({"pairs": folder_of_pairs(tmp_path / "some", left), "held_out": 0})
    for update in range(3):
        (one, first), (other, second) = (each.batches.micro_batch(update, 0) for each in (with_check, without))
        with_check.examine()  # leaves no trace
        assert one.prompts == other.prompts
        assert torch.equal(one.chosen, other.chosen)
        assert torch.equal(first.normal("noise", (3,)), second.normal("noise", (3,)))
    assert without.examine() == {}
    _, apart = with_check.examine._batches.micro_batch(0, 0)  # type: ignore[attr-defined]
    assert apart.seed != first.seed  # so its noise is not that of the first update's samples


def test_a_fresh_lora_knows_nothing_of_them_and_a_trained_one_does(tmp_path: Path, folder_of_pairs) -> None:
    """Bright pictures are chosen: what is learned from 7 pairs holds for the 3 others."""
    parts = parts_of({"pairs": folder_of_pairs(tmp_path / "all", range(10)), "held_out": 0.3})
    assert parts.examine() == {"held_out_accuracy": 0.5, "held_out_gap_chosen": 0, "held_out_gap_rejected": 0}
    before = parts.policy.adapter_state()
    parts.examine()
    assert all(torch.equal(before[name], tensor) for name, tensor in parts.policy.adapter_state().items())
    optimizer = torch.optim.Adam(parts.policy.trainable().values(), lr=3e-3)
    for update in range(8):
        batch, rng = parts.batches.micro_batch(update, 0)
        for report in parts.method.losses(parts.policy, parts.reward, batch, rng):
            report.loss.backward()  # type: ignore[union-attr]
        optimizer.step()
        optimizer.zero_grad()
    after = parts.examine()
    assert after["held_out_accuracy"] > 0.75
    assert after["held_out_gap_chosen"] < after["held_out_gap_rejected"]
