"""Conditioning is made once per prompt and base, and comes back from disk bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import folders

from toolkit.recipe import Recipe
from training import build
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


def test_nothing_is_kept_as_prompts_are_and_is_no_prompt(folder: Path | None) -> None:
    encoder = Encoder()
    cache = ConditioningCache(encoder, folder=folder)
    made: list[int] = []

    def nothing() -> dict[str, torch.Tensor]:
        made.append(1)
        return {"length": torch.zeros(1, 2)}

    for _ in range(2):
        assert cache.nothing(nothing)["length"].tolist() == [[0.0, 0.0]]
    assert (len(made), encoder.asked) == (1, [])
    assert cache(["nothing"])["length"][0, 0] == 7


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_a_second_run_on_the_same_prompts_never_loads_the_text_encoders(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALATE_CACHE", str(tmp_path))
    texts, recipe = ["a cat", "a dog"], Recipe(base=folders.section(name))
    first, again = (build.stage(recipe, torch.device("cpu")) for _ in range(2))
    monkeypatch.setattr(again.policy.base, "_load", lambda **_: pytest.fail("the text encoders were loaded"))
    seen = []
    for stage in (first, again):
        stage.encode.prepare(texts)
        stage.policy.release_text()
        seen.append(stage.renderer(recipe, "sample", steps=2)(texts))  # with true guidance
    assert recipe.validation.guidance_scale != 1
    assert torch.equal(*seen)


def test_a_prompt_never_becomes_a_path(tmp_path: Path) -> None:
    ConditioningCache(Encoder(), folder=tmp_path / "text")(["../../escape"])
    assert [file.parent.name for file in tmp_path.rglob("*.safetensors")] == ["text"]
