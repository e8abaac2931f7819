"""Scores, their order and what is kept: the pure parts, and the nodes on towers of a few numbers."""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from comfy_nodes.logic import pictures, projection, selection
from comfy_nodes.logic.ranking import Score, order, table
from training.reward_export import KIND
from training.rewards._pictures import Preprocessing

WIDTH = 6


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 90), st.integers(1, 90), st.sampled_from(pictures.GEOMETRIES), st.sampled_from([14, 28, 33])
)  # fmt: skip
def test_squares_are_those_of_training(height: int, width: int, geometry: Any, size: int) -> None:
    image = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(height * 100 + width))
    ours = pictures.square(image, size, geometry)
    trained = Preprocessing(size, (0, 0, 0), (1, 1, 1), geometry)(image.movedim(-1, 1)).movedim(1, -1)
    assert ours.shape == (1, size, size, 3)
    assert torch.equal(ours, trained)


def test_transparency_is_left_out_and_values_are_cut_to_their_range() -> None:
    image = torch.full((1, 4, 4, 4), 1.5)
    assert torch.equal(pictures.square(image, 4, "crop"), torch.ones(1, 4, 4, 3))


VALUES = st.lists(st.floats(allow_infinity=True, allow_nan=True), min_size=1, max_size=12)


@given(VALUES)
def test_the_order_is_best_first_stable_and_without_numbers_last(values: list[float]) -> None:
    places = order(values)
    assert sorted(places) == list(range(len(values)))
    for one, other in pairwise(places):
        a, b = values[one], values[other]
        assert math.isnan(b) or a > b or (a == b and one < other)


def test_the_table_is_best_first() -> None:
    scores = [Score(0.25, -0.01, (64, 32)), Score(0.2, 0.03, (8, 8))]
    assert table(scores, ["a note"]).splitlines() == [
        "image    words  prompt   size",
        "    1  +0.0300  0.2000    8x8",
        "    0  -0.0100  0.2500  64x32",
        "a note",
    ]
    assert table([Score(0.25, None, (64, 32))]).splitlines()[0].split() == ["image", "prompt", "size"]


@pytest.mark.parametrize(
    "weight",
    [
        torch.zeros(8, 8),
        torch.eye(8),
        torch.full((8, 8), torch.nan),
        torch.full((8, 8), 1e30),
        torch.full((8, 8), 1e-30),
    ],
)
def test_a_projection_that_was_never_loaded_is_noticed(weight: Tensor) -> None:
    assert not projection.is_trained(weight)


def test_a_trained_projection_passes() -> None:
    assert projection.is_trained(torch.randn(64, 64).mul(0.02).half())


def test_colours_are_matched_after_what_all_share_is_taken_off() -> None:
    names, crowd = 0.1 * torch.eye(6), torch.linspace(0, 1, 6)
    assert projection.told_apart(names + crowd[:, None] + 2 * crowd) == 6
    assert projection.told_apart(names.roll(1, 0)) == 0
    assert projection.verdict(6) == ""
    assert "knows 0 by name" in projection.verdict(0)


def latent(count: int, side: int = 2, **more: Any) -> dict[str, Any]:
    return {"samples": torch.arange(float(count)).reshape(-1, 1, 1, 1).expand(-1, 4, side, side), **more}


def test_kept_latents_carry_what_belongs_to_them() -> None:
    masks = torch.arange(3.0).reshape(3, 1, 1)
    (kept,) = selection.latents([latent(3, noise_mask=masks, batch_index=[7, 8, 9])], [2, 0], 3)
    assert kept["samples"][:, 0, 0, 0].tolist() == [2, 0]
    assert kept["noise_mask"].flatten().tolist() == [2, 0]
    assert kept["batch_index"] == [9, 7]
    (shared,) = selection.latents([latent(3, noise_mask=masks[:1])], [2, 0], 3)
    assert shared["noise_mask"].flatten().tolist() == [0, 0]


def test_kept_ones_of_several_sizes_stay_a_list() -> None:
    kept = selection.latents([latent(2), latent(1, side=3)], [2, 1], 3)
    assert [each["samples"].shape[-1] for each in kept] == [3, 2]
    images = selection.images([torch.zeros(2, 4, 4, 3), torch.ones(1, 5, 4, 3)], [2, 0])
    assert [image.shape[1] for image in images] == [5, 4]
    with pytest.raises(ValueError, match=r"There are 2 latents and 3 pictures"):
        selection.latents([latent(2)], [0], 3)


class Vision:
    """Mean colour of three rows of a picture; knows no text."""

    image_size = 6

    def encode_image(self, image: Tensor) -> dict[str, Tensor]:
        assert image.shape == (1, 6, 6, 3)
        return {"image_embeds": torch.cat([image.mean(2)[:, 0], image.mean(2)[:, 5]], -1) - 0.4}


class Clip:
    """A text as the counts of six letters, projected."""

    def __init__(self, projected: bool = True, width: int = WIDTH) -> None:
        self.asked: list[str] = []
        self.cond_stage_model = nn.Module()
        if projected:
            self.cond_stage_model.text_projection = nn.Linear(WIDTH, width, bias=False)
            weight = torch.randn(width, WIDTH, generator=torch.Generator().manual_seed(1))
            self.cond_stage_model.text_projection.weight = nn.Parameter(weight)

    def tokenize(self, text: str, disable_weights: bool = False) -> dict[str, list[Any]]:
        assert disable_weights
        self.asked.append(text)
        return {"l": [text[start : start + 77] for start in range(0, max(1, len(text)), 77)]}

    def encode_from_tokens(self, tokens: dict[str, list[Any]], return_pooled: str) -> tuple[None, Tensor]:
        assert return_pooled == "unprojected"
        (text, *_) = tokens["l"]
        return None, torch.tensor([[float(text.count(letter)) for letter in "aeioux"]]) + 0.1


@pytest.fixture
def pack(comfyui) -> Any:
    return comfyui.load()


@pytest.fixture
def nodes(pack) -> dict[str, Any]:
    extension = asyncio.run(pack.comfy_entrypoint())
    return {node.define_schema().node_id: node for node in asyncio.run(extension.get_node_list())}


@pytest.fixture
def scorer(pack) -> Any:
    return importlib.import_module(f"{pack.__name__}.scorer").Scorer("tiny", Vision(), Clip())


IMAGES = torch.rand(5, 6, 6, 3, generator=torch.Generator().manual_seed(2))


def rate(nodes, scorer, name: str = "PalatePreferenceScore", **inputs: Any) -> Any:
    given = {
        "scorer": [scorer], "images": [IMAGES[:3], IMAGES[3:]], "prompt": ["a fox"], "positive_word": ["calm"],
        "negative_word": ["loud"], **inputs,
    }  # fmt: skip
    return nodes[name].execute(**given)


def test_the_relative_score_is_the_difference_of_the_two_captions(nodes, scorer) -> None:
    scores, absolute, best, text = rate(nodes, scorer)
    positive, *_ = rate(nodes, scorer, prompt=["calm. a fox"], positive_word=[""], negative_word=[""])
    negative, *_ = rate(nodes, scorer, prompt=["loud. a fox"], positive_word=[""], negative_word=[""])
    alone, same, *_ = rate(nodes, scorer, positive_word=[""], negative_word=[" "])
    assert torch.allclose(torch.tensor(scores), torch.tensor(positive) - torch.tensor(negative))
    assert absolute == alone == same
    assert best == max(scores)
    assert text.splitlines()[1].split()[0] == str(scores.index(best))
    swapped, *_ = rate(nodes, scorer, positive_word=["loud"], negative_word=["calm"])
    assert torch.allclose(torch.tensor(scores), -torch.tensor(swapped))


def test_each_picture_may_have_its_own_prompt_and_each_text_is_encoded_once(nodes, scorer) -> None:
    prompts = ["a fox", "an owl", "a fox", "a bee", "a fox"]
    _, absolute, *_ = rate(nodes, scorer, prompt=prompts)
    assert len(scorer.clip.asked) == len(set(scorer.clip.asked)) == 9
    for place, prompt in enumerate(prompts):
        (one,) = rate(nodes, scorer, images=[IMAGES[place : place + 1]], prompt=[prompt])[1]
        assert absolute[place] == one


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"negative_word": [""]}, "Give both words, or none"),
        ({"prompt": ["a", "b"]}, "There are 2 prompts and 5 pictures"),
        ({"images": []}, "There are no pictures"),
    ],
)
def test_what_cannot_be_scored_is_a_sentence(nodes, scorer, inputs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        rate(nodes, scorer, **inputs)


def test_a_cut_text_and_a_doubtful_pair_are_told(nodes, scorer) -> None:
    (pair,) = nodes["PalateClipPreferenceModel"].execute(Vision(), Clip())
    assert pair.note.startswith("Warning: of 6 plain colours")
    assert rate(nodes, pair)[3].splitlines()[-1] == pair.note
    assert "its end was not scored" in rate(nodes, scorer, prompt=["a" * 80])[3]
    assert "its end was not scored" not in rate(nodes, scorer)[3]


@pytest.mark.parametrize(
    ("vision", "clip", "sentence"),
    [
        (Vision(), Clip(projected=False), "it has no text projection"),
        (Vision(), Clip(width=4), "gives 6 numbers, the text part 4"),
        (SimpleNamespace(encode_image=lambda _: {"image_embeds": torch.ones(1, 9, 6)}), Clip(), "no text part that"),
    ],
)
def test_towers_that_do_not_belong_together_are_refused(nodes, vision: Any, clip: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        nodes["PalateClipPreferenceModel"].execute(vision, clip)


def test_an_interruption_passes_between_two_pictures(nodes, scorer, monkeypatch) -> None:
    seen: list[int] = []

    def interrupt() -> None:
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt

    management = sys.modules["comfy.model_management"]
    monkeypatch.setattr(management, "throw_exception_if_processing_interrupted", interrupt)
    with pytest.raises(KeyboardInterrupt):
        rate(nodes, scorer)
    assert len(seen) == 3


@pytest.mark.parametrize("keep", [1, 3, 9])
def test_pick_best_is_the_head_of_the_order(nodes, scorer, keep: int) -> None:
    every, *_ = rate(nodes, scorer)
    images, latents, places, scores, _ = rate(nodes, scorer, "PalatePickBest", keep=[keep], latents=[latent(5)])
    assert places == sorted(range(5), key=lambda place: -every[place])[:keep]
    assert scores == [every[place] for place in places]
    assert torch.equal(images[0], IMAGES[places])
    assert latents[0]["samples"][:, 0, 0, 0].tolist() == places
    blocked = rate(nodes, scorer, "PalatePickBest", keep=[keep])[1]
    assert "only where latents are connected" in blocked.message


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("{", "cannot be read"),
        ("[1]", "cannot be read"),
        (json.dumps({"tuned_reward": {}}), "export-comfyui"),
        (json.dumps({KIND: {"geometry": "fold"}}), "cannot be"),
        (json.dumps({KIND: {"scale": "nan"}}), "cannot be"),
        (json.dumps({KIND: {"scale": -1}}), "cannot be"),
        (json.dumps({KIND: []}), "cannot be read"),
        ("[" * 60_000, "cannot be read"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(pack, said: str, sentence: str) -> None:
    files = importlib.import_module(f"{pack.__name__}.scorer_files")
    with pytest.raises(ValueError, match=sentence):
        files.facts({"palate": said})


def test_a_header_says_how_to_score(pack) -> None:
    files = importlib.import_module(f"{pack.__name__}.scorer_files")
    assert files.KIND == KIND
    assert files.facts({"palate": json.dumps({KIND: {"geometry": "pad", "scale": 5}})}) == ("pad", 5.0)
    assert files.facts(None) == files.facts({"format": "pt"}) == ("crop", 1.0)


def test_only_whole_clips_are_taken_apart(comfyui, nodes) -> None:
    comfyui.lora()
    node = nodes["PalateLoadPreferenceModel"]
    assert node.validate_inputs(model_name="mine.safetensors") is True
    assert "paths are not taken" in node.validate_inputs(model_name="../mine.safetensors")
    assert "is not in models/palate" in node.validate_inputs(model_name="other.safetensors")
    with pytest.raises(ValueError, match=r"mine.safetensors is no whole CLIP"):
        node.execute("mine.safetensors")
    (comfyui.loras / "broken.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"is not a readable .safetensors file"):
        node.execute("broken.safetensors")
    before = node.fingerprint_inputs("mine.safetensors")
    save_file({"a": functional.relu(torch.ones(3))}, comfyui.loras / "mine.safetensors")
    assert node.fingerprint_inputs("mine.safetensors") != before
