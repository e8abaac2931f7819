"""Arithmetic on ComfyUI's conditionings: lists of [tokens [B,L,C], dictionary], in every family's shape.

Pooled vectors and second encoders' tokens in the dictionary take part; everything else in it (guidance, ControlNet,
masks, hooks) is the first conditioning's. Nothing given is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Conditioning = Sequence[Sequence[Any]]  # of [Tensor, dict]
CHUNK = 77  # CLIP reads in pieces of this many tokens, so its conditionings may be lengthened by zeros
MIXED = ("pooled_output", "conditioning_mt5xl")  # tensors in the dictionary that carry the text
MASKS = ("attention_mask", "attention_mask_mt5xl")  # [B,L]: which tokens are read
FIXED = "conditioning_mt5xl"  # HunyuanDiT takes exactly 77 and 256 tokens, so nothing can be appended


class DoNotFit(ValueError):
    """These conditionings cannot be calculated with; the sentence says why."""


def weighted_sum(terms: Sequence[tuple[float, Conditioning]]) -> list[list[Any]]:
    """Σ weight · conditioning, entry by entry; terms of weight 0 take no part, so that 1·c + 0·d is c to the bit.

    Raises DoNotFit where lengths differ and the family does not pad by itself.
    """
    if len({len(conditioning) for _, conditioning in terms}) != 1:
        raise DoNotFit("the conditionings have different numbers of entries")
    used = [(weight, conditioning) for weight, conditioning in terms if weight != 0]
    result = []
    for index, (_, about) in enumerate(terms[0][1]):
        entries = [(weight, conditioning[index]) for weight, conditioning in used]
        mixed = dict(about)
        for key in MIXED:
            if isinstance(about.get(key), Tensor):
                mixed[key] = _sum([(w, entry[1][key]) for w, entry in entries if entry[1].get(key) is not None])
        for key in MASKS:
            masks = [entry[1][key] for _, entry in entries if entry[1].get(key) is not None]
            if masks:
                mixed[key] = torch.stack(_same_length(masks)).amax(0)
        result.append([_sum([(weight, entry[0]) for weight, entry in entries]), mixed])
    return result


def average(plain: Conditioning, worded: Conditioning, strength: float) -> list[list[Any]]:
    """(1 - s) · plain + s · worded, ConditioningAverage's arithmetic, also beyond 1."""
    return weighted_sum([(1 - strength, plain), (strength, worded)])


def direction(plain: Conditioning, positive: Conditioning, negative: Conditioning, strength: float) -> list[list[Any]]:
    """plain + s · (positive - negative): works without guidance, too."""
    return weighted_sum([(1.0, plain), (strength, positive), (-strength, negative)])


def concat(plain: Conditioning, *words: Conditioning) -> list[list[Any]]:
    """Each word's first entry after the prompt's tokens; the pooled vector stays the prompt's.

    Raises DoNotFit for HunyuanDiT.
    """
    added = [word[0] for word in words]
    result = []
    for tokens, about in plain:
        if FIXED in about:
            raise DoNotFit("this model takes a fixed number of tokens, so none can be appended")
        longer = dict(about)
        for key in MASKS:
            if about.get(key) is not None:
                parts = [about, *(entry[1] for entry in added)]
                longer[key] = torch.cat([part[key].to(about[key]) for part in parts], dim=1)
        result.append([torch.cat([tokens, *(entry[0].to(tokens) for entry in added)], dim=1), longer])
    return result


def timestep_range(plain: Conditioning, worded: Conditioning, start: float, end: float) -> list[list[Any]]:
    """worded within [start, end] of sampling (fractions, 0 is its beginning), plain before and after."""
    ranges = [(plain, 0.0, start), (worded, start, end), (plain, end, 1.0)]
    return [
        [tokens, {**about, "start_percent": begin, "end_percent": finish}]
        for conditioning, begin, finish in ranges
        if begin < finish
        for tokens, about in conditioning
    ]


def _sum(terms: Sequence[tuple[float, Tensor]]) -> Tensor:
    """Σ weight · tensor in float32, returned in the first one's precision; a single term of weight 1 is itself."""
    if len(terms) == 1 and terms[0][0] == 1:
        return terms[0][1]
    first = terms[0][1]
    tensors = _same_length([tensor for _, tensor in terms])
    total = sum(
        (w * t.to(first.device, torch.float32) for (w, _), t in zip(terms, tensors, strict=True)), torch.zeros(())
    )
    return total.to(first.dtype)


def _same_length(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Zeros after the shorter ones of CLIP, dimension 1; as they are when equally long. Raises DoNotFit otherwise."""
    shapes = {tensor.shape for tensor in tensors}
    if len(shapes) == 1:
        return list(tensors)
    lengths = {shape[1] for shape in shapes}
    if len({shape[:1] + shape[2:] for shape in shapes}) > 1 or any(length % CHUNK for length in lengths):
        raise DoNotFit(f"the texts have {' and '.join(map(str, sorted(lengths)))} tokens, and this family does not pad")
    longest = max(lengths)
    return [torch.cat([t, t.new_zeros(t.shape[0], longest - t.shape[1], *t.shape[2:])], dim=1) for t in tensors]
