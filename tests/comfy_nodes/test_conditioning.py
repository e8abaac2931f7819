"""Every family's conditioning against sums done by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from comfy_nodes.logic import conditioning
from comfy_nodes.logic.conditioning import DoNotFit


def entry(tokens: list[list[float]], **about: Any) -> list[list[Any]]:
    return [[torch.tensor([tokens]), about]]


def pooled(*numbers: float) -> Tensor:
    return torch.tensor([numbers])


def clip(chunks: int, value: float, **about: Any) -> list[list[Any]]:
    """[1,77n,1], all tokens alike."""
    return entry([[value]] * conditioning.CHUNK * chunks, **about)


def test_average_by_hand() -> None:
    plain = entry([[0.0, 4.0], [8.0, 2.0]], pooled_output=pooled(1.0, 3.0), guidance=3.5)
    worded = entry([[4.0, 0.0], [8.0, 6.0]], pooled_output=pooled(5.0, -1.0), guidance=9.0)
    ((tokens, about),) = conditioning.average(plain, worded, 0.25)
    assert tokens.tolist() == [[[1.0, 3.0], [8.0, 3.0]]]
    assert about["pooled_output"].tolist() == [[2.0, 2.0]]
    assert about["guidance"] == 3.5  # everything else stays the prompt's
    ((beyond, _),) = conditioning.average(plain, worded, 2.0)
    assert beyond.tolist() == [[[8.0, -4.0], [8.0, 10.0]]]


def test_direction_by_hand() -> None:
    plain = entry([[1.0, 1.0]], pooled_output=pooled(1.0))
    towards, away = entry([[3.0, 0.0]], pooled_output=pooled(4.0)), entry([[1.0, 2.0]], pooled_output=pooled(2.0))
    ((tokens, about),) = conditioning.direction(plain, towards, away, 1.5)
    assert tokens.tolist() == [[[4.0, -2.0]]]
    assert about["pooled_output"].tolist() == [[4.0]]


def test_strength_0_and_1_are_exact_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(3)
    one, two, three = ([[torch.randn(1, 5, 4, generator=generator), {}]] for _ in range(3))
    assert torch.equal(conditioning.average(one, two, 0.0)[0][0], one[0][0])
    assert torch.equal(conditioning.average(one, two, 1.0)[0][0], two[0][0])
    assert torch.equal(conditioning.direction(one, two, three, 0.0)[0][0], one[0][0])


def test_clip_pads_the_shorter_with_zeros() -> None:
    ((tokens, _),) = conditioning.average(clip(1, 2.0), clip(2, 4.0), 0.5)
    assert tokens.flatten().tolist() == [3.0] * 77 + [2.0] * 77
    ((tokens, _),) = conditioning.average(clip(2, 4.0), clip(1, 2.0), 0.5)
    assert tokens.flatten().tolist() == [3.0] * 77 + [2.0] * 77


@pytest.mark.parametrize(("first", "second"), [(7, 10), (256, 260), (77, 100)])
def test_a_family_that_does_not_pad_is_not_calculated_with(first: int, second: int) -> None:
    """Qwen-Image's 7 against 10 tokens; FLUX beyond its 256; SD3 with T5."""
    with pytest.raises(DoNotFit, match=f"{first} and {second} tokens"):
        conditioning.average(entry([[1.0]] * first), entry([[1.0]] * second), 0.5)


def test_families_without_a_pooled_vector() -> None:
    """Wan and Qwen-Image have none, written as None."""
    ((tokens, about),) = conditioning.average(
        entry([[1.0]], pooled_output=None), entry([[3.0]], pooled_output=None), 0.5
    )
    assert (tokens.item(), about) == (2.0, {"pooled_output": None})


def test_hunyuan_dit_mixes_both_encoders_and_reads_every_token_of_either() -> None:
    plain = entry([[1.0]], conditioning_mt5xl=torch.tensor([[[2.0]]]), attention_mask=torch.tensor([[1, 0]]),
                  attention_mask_mt5xl=torch.tensor([[1, 1, 0]]))  # fmt: skip
    worded = entry([[3.0]], conditioning_mt5xl=torch.tensor([[[6.0]]]), attention_mask=torch.tensor([[1, 1]]),
                   attention_mask_mt5xl=torch.tensor([[1, 0, 0]]))  # fmt: skip
    ((tokens, about),) = conditioning.average(plain, worded, 0.5)
    assert (tokens.item(), about["conditioning_mt5xl"].item()) == (2.0, 4.0)
    assert about["attention_mask"].tolist() == [[1, 1]]
    assert about["attention_mask_mt5xl"].tolist() == [[1, 1, 0]]
    with pytest.raises(DoNotFit, match="fixed number of tokens"):
        conditioning.concat(plain, worded)


def test_concat_appends_tokens_and_mask_and_keeps_the_pooled_vector() -> None:
    plain = entry([[1.0], [2.0]], pooled_output=pooled(7.0), attention_mask=torch.tensor([[1, 0]]))
    word = entry([[3.0]], pooled_output=pooled(9.0), attention_mask=torch.tensor([[1]]))
    ((tokens, about),) = conditioning.concat(plain, word, word)
    assert tokens.flatten().tolist() == [1.0, 2.0, 3.0, 3.0]
    assert about["pooled_output"].tolist() == [[7.0]]
    assert about["attention_mask"].tolist() == [[1, 0, 1, 1]]


def test_timestep_range_by_hand() -> None:
    plain, worded = entry([[1.0]], guidance=3.5), entry([[2.0]], guidance=3.5)
    ranges = conditioning.timestep_range(plain, worded, 0.25, 0.5)
    assert [(t.item(), a["start_percent"], a["end_percent"], a["guidance"]) for t, a in ranges] == [
        (1.0, 0.0, 0.25, 3.5),
        (2.0, 0.25, 0.5, 3.5),
        (1.0, 0.5, 1.0, 3.5),
    ]
    whole = conditioning.timestep_range(plain, worded, 0.0, 1.0)
    assert [tokens.item() for tokens, _ in whole] == [2.0]
    nowhere = conditioning.timestep_range(plain, worded, 0.6, 0.4)
    assert {tokens.item() for tokens, _ in nowhere} == {1.0}


def test_half_precision_is_summed_in_single_and_given_back_in_half() -> None:
    plain = [[torch.tensor([[[2048.0]]], dtype=torch.float16), {}]]
    ((tokens, _),) = conditioning.weighted_sum([(1.0, plain), (1.0, [[plain[0][0] / 2048, {}]]), (-1.0, plain)])
    assert tokens.dtype == torch.float16
    assert tokens.item() == 1.0  # 2048 + 1 is 2048 in half precision


def test_every_entry_of_a_scheduled_encoding_takes_part() -> None:
    plain = [*entry([[1.0]], clip_start_percent=0.0), *entry([[2.0]], clip_start_percent=0.5)]
    worded = [*entry([[3.0]]), *entry([[6.0]])]
    mixed = conditioning.average(plain, worded, 0.5)
    assert [(tokens.item(), about["clip_start_percent"]) for tokens, about in mixed] == [(2.0, 0.0), (4.0, 0.5)]
    with pytest.raises(DoNotFit, match="different numbers"):
        conditioning.average(plain, worded[:1], 0.5)


def test_nothing_given_is_changed() -> None:
    plain, worded = clip(1, 2.0, pooled_output=pooled(1.0)), clip(2, 4.0, pooled_output=pooled(3.0))
    conditioning.direction(plain, worded, plain, 2.0)
    conditioning.concat(plain, worded)
    conditioning.timestep_range(plain, worded, 0.0, 0.5)
    assert plain[0][0].shape == (1, 77, 1)
    assert plain[0][0].unique().tolist() == [2.0]
    assert plain[0][1].keys() == {"pooled_output"}
    assert plain[0][1]["pooled_output"].tolist() == [[1.0]]
