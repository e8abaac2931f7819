"""Both sides of the scoring protocol: what one writes the other reads, and what is no question is refused in words."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import save

from training.scorer_http import PROTOCOL, Pictures, Refused, answer, decode
from training.scoring_protocol import Answer, Description, encode

DESCRIBE = {
    "name": "planted", "version": "1", "licence": "MIT", "range": (0.0, 1.0),
    "needs_text": True, "accepts_video": False, "max_batch": 2,
}  # fmt: skip
SHAPES = st.one_of(
    st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.just(3), st.integers(1, 4), st.integers(1, 4)),
)
ONE = torch.zeros(1, 3, 2, 2)


def body(tensors: dict[str, torch.Tensor], question: Any) -> bytes:
    return save(tensors, metadata={"palate": json.dumps(question)})


@settings(max_examples=30, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**31), data=st.data())
def test_decode_inverts_encode_bit_by_bit(shape: tuple, seed: int, data: st.DataObject) -> None:
    images = torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
    prompts = data.draw(st.lists(st.text(), min_size=shape[0], max_size=shape[0]))
    pictures, read = decode(encode(images, prompts))
    assert read == prompts
    assert pictures.shape == shape
    assert torch.equal(torch.from_numpy(pictures.array().copy()), images)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(noise: bytes) -> None:
    with pytest.raises(Refused):
        decode(noise)


def test_half_precision_and_strided_pictures_arrive_as_float32() -> None:
    images = torch.rand(2, 4, 4, 3).to(torch.bfloat16).permute(0, 3, 1, 2)
    pictures, _ = decode(encode(images, ["", ""]))
    assert torch.equal(torch.from_numpy(pictures.array().copy()), images.float())


def test_frames_are_pil_pictures_of_the_right_colour() -> None:
    video = torch.tensor([1.0, 0.5, 0.0]).reshape(1, 1, 3, 1, 1).expand(1, 2, 3, 4, 6)
    pictures, _ = decode(encode(video, ["orange"]))
    ((first, second),) = pictures.frames()
    assert first.size == (6, 4)
    assert second.getpixel((5, 3)) == (255, 128, 0)


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (body({"pictures": ONE}, {"protocol": 2, "prompts": [""]}), "speaks version 2 of the protocol; this scorer "),
        (body({"pictures": ONE}, {"protocol": 1, "prompts": []}), "1 pictures need 1 prompts"),
        (body({"pictures": ONE}, {"protocol": 1, "prompts": [3]}), "1 pictures need 1 prompts"),
        (body({"pictures": ONE.half()}, {"protocol": 1, "prompts": [""]}), r"not F16 \[1, 3, 2, 2\]"),
        (body({"pictures": ONE[0]}, {"protocol": 1, "prompts": [""]}), r"not F32 \[3, 2, 2\]"),
        (body({"pictures": ONE[:, :1]}, {"protocol": 1, "prompts": [""]}), r"not F32 \[1, 1, 2, 2\]"),
        (body({"pictures": ONE[:0]}, {"protocol": 1, "prompts": []}), r"not F32 \[0, 3, 2, 2\]"),
        (body({"images": ONE}, {"protocol": 1, "prompts": [""]}), "not a safetensors file"),
        (encode(ONE, [""])[:-1], r"not F32 \[1, 3, 2, 2\]"),
        (struct.pack("<Q", 2) + b"[]", "not a safetensors file"),
    ],
)
def test_what_is_no_question_is_refused_in_words(sent: bytes, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        decode(sent)


@pytest.mark.parametrize(
    ("images", "found", "status", "sentence"),
    [
        (ONE, {"scores": [0.5]}, 200, None),
        (ONE, {"scores": [float("nan")]}, 400, "planted found a score that is not a number."),
        (ONE, {"scores": [0.5], "dimensions": {"depth": [float("inf")]}}, 400, "planted found a score that is not"),
        (ONE, {}, 500, "planted failed: KeyError: 'scores'"),
        (ONE.expand(3, 3, 2, 2), {"scores": [0.5] * 3}, 400, "planted takes at most 2 pictures at once."),
        (ONE[None], {"scores": [0.5]}, 400, "planted scores single pictures, not videos."),
    ],
)
def test_an_answer_or_a_sentence(images: torch.Tensor, found: dict, status: int, sentence: str | None) -> None:
    got, reply = answer(encode(images, ["a cat"] * len(images)), DESCRIBE, lambda pictures, prompts: found)
    assert got == status
    assert reply.get("error", "").startswith(sentence or "")


def test_a_description_says_everything() -> None:
    said = json.dumps({"protocol": PROTOCOL, **DESCRIBE, "mood": "a newer scorer may say more"})
    assert Description.model_validate_json(said).range == (0.0, 1.0)
    for name in ("protocol", *DESCRIBE):
        less = {key: value for key, value in json.loads(said).items() if key != name}
        with pytest.raises(ValidationError, match=name):
            Description.model_validate_json(json.dumps(less))


@pytest.mark.parametrize("said", ['{"scores": ["0.5"]}', '{"scores": [null]}', '{"scores": 1}', "[]", "{}"])
def test_an_answer_is_made_of_numbers(said: str) -> None:
    with pytest.raises(ValidationError):
        Answer.model_validate_json(said)


def test_a_batch_has_a_length() -> None:
    assert len(Pictures((3, 3, 1, 1), b"")) == 3
