"""Conditioning is made once per prompt and base, and comes back from disk bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.text_cache import ConditioningCache


class Encoder:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, prompts) -> dict[str, torch.Tensor]:
        self.asked.append(list(prompts))
        rows = [[float(len(prompt)), 1 / 3] for prompt in prompts]
        return {"length": torch.tensor(rows).to(torch.bfloat16), "mask": torch.tensor(rows) > 1}


@pytest.fixture(params=["memory", "disk"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "text" if request.param == "disk" else None


def test_each_prompt_is_encoded_alone_once_and_given_back_in_order(folder: Path | None) -> None:
    encoder = Encoder()
    cache = ConditioningCache(encoder, folder=folder)
    assert cache(["aaa", "b", "aaa"])["length"][:, 0].tolist() == [3.0, 1.0, 3.0]
    assert cache(["b"])["length"][:, 0].tolist() == [1.0]
    assert encoder.asked == [["aaa"], ["b"]]


def test_what_was_prepared_needs_no_encoder_any_more(folder: Path | None) -> None:
    encoder = Encoder()
    cache = ConditioningCache(encoder, folder=folder)
    cache.prepare(["aaa", "b", "aaa"])
    assert encoder.asked == [["aaa"], ["b"]]
    cache(["b", "aaa"])
    assert len(encoder.asked) == 2


def test_a_second_run_reads_the_same_bits_from_disk(tmp_path: Path) -> None:
    first = ConditioningCache(Encoder(), folder=tmp_path)(["a cat"])
    encoder = Encoder()
    again = ConditioningCache(encoder, folder=tmp_path)(["a cat"])
    assert encoder.asked == []
    assert first.keys() == again.keys()
    for name, value in first.items():
        assert again[name].dtype == value.dtype
        assert torch.equal(again[name], value)


def test_a_file_cut_short_is_made_again(tmp_path: Path) -> None:
    ConditioningCache(Encoder(), folder=tmp_path)(["a cat"])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    encoder = Encoder()
    assert ConditioningCache(encoder, folder=tmp_path)(["a cat"])["length"][0, 0] == 5
    assert encoder.asked == [["a cat"]]


def test_a_prompt_never_becomes_a_path(tmp_path: Path) -> None:
    ConditioningCache(Encoder(), folder=tmp_path / "text")(["../../escape"])
    assert [file.parent.name for file in tmp_path.rglob("*.safetensors")] == ["text"]
