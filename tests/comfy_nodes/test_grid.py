"""Grids: the texts that ask for columns, the layout, and the two nodes in the stand-in."""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from comfy_nodes.logic import columns, grid
from comfy_nodes.logic.columns import BASE, Compared, Take, plan, read_strengths, read_variants
from comfy_nodes.logic.words import NO_WORDS, Pair, Spoken

OWN = Spoken(Pair(r"3d render \(soft\)", "line art"))
MINE = Compared("people/mine.safetensors", 1.0, OWN)
numbers = st.floats(-100, 100).map(lambda value: float(f"{value:.4f}") + 0.0)
labels = st.lists(st.text(max_size=30), min_size=1, max_size=3)


@given(st.lists(numbers, min_size=1, max_size=16), st.sampled_from([", ", ",", " ", ";", "\n", " ,, "]))
def test_strengths_are_read_in_their_order_each_once(values: list[float], between: str) -> None:
    assert read_strengths(between.join(f"{value:.4f}" for value in values)) == tuple(dict.fromkeys(values))


@given(st.text(max_size=40) | st.text("0123456789.,-+e _", max_size=12))
def test_any_text_is_strengths_or_refused_in_one_line(text: str) -> None:
    try:
        values = read_strengths(text)
    except ValueError as refusal:
        said = str(refusal)
    else:
        assert 1 <= len(values) <= 16
        assert all(-100 <= value <= 100 for value in values)
        return
    assert said.endswith("such as 0.5, 1, 1.5.")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "There are 0 strengths"),
        (" ".join(map(str, range(17))), "There are 17 strengths"),
        ("0.5, strong", "“strong” is no strength"),
        ("101", "numbers from -100 to 100"),
        ("1e3", "no strength"),
        ("nan", "no strength"),
        ("1_0", "no strength"),
        ("\u0661", "no strength"),
    ],
)
def test_what_is_no_strength_is_named(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_strengths(text)


@pytest.mark.parametrize(
    ("text", "variants"),
    [
        ("", (NO_WORDS,)),
        ("off\n own \n\nOFF", (NO_WORDS, None)),
        ("3d render / line art", (Pair("3d render", "line art"),)),
        ("calm", (Pair("calm", ""),)),
        ("/ loud\ncalm /", (Pair("", "loud"), Pair("calm", ""))),
        ("and/or / 1/2 / 3", (Pair("and/or", "1/2 / 3"),)),
        ("/", (NO_WORDS,)),
    ],
)
def test_words_are_one_variant_a_line(text: str, variants: tuple[Pair | None, ...]) -> None:
    assert read_variants(text) == variants


word = st.text("ab()/,: ", max_size=8).map(str.strip).filter(lambda text: " / " not in f" {text} ")
pairs = st.builds(Pair, word.filter(lambda text: text not in ("", "off", "own")), word)


@given(st.lists(pairs, min_size=1, max_size=5))
def test_pairs_are_read_as_they_are_shown(written: list[Pair]) -> None:
    assert read_variants("\n".join(map(str, written))) == tuple(dict.fromkeys(written))


@given(
    st.lists(numbers, min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from([None, NO_WORDS, Pair("calm", "loud"), Pair("", "loud")]), min_size=1, max_size=4,
             unique=True),
    st.sampled_from([0.0, 0.5, 1.0]),
)  # fmt: skip
def test_a_plan_begins_with_the_base_and_has_every_combination(
    strengths: list[float], variants: list[Pair | None], word_strength: float
) -> None:
    planned = plan([MINE], strengths, variants, word_strength)
    assert planned[0] == BASE
    said = [OWN.pair if variant is None else variant for variant in variants]
    for strength, pair in product(strengths, said):
        silent = not word_strength or pair == NO_WORDS
        words = columns.SILENT if silent else Spoken(pair, word_strength)
        assert Take(MINE.lora_name if strength else "", strength, words) in [column.take for column in planned]
    assert len(planned) == len(set(planned)) <= 1 + len(strengths) * len(variants)


def test_a_label_says_what_differs() -> None:
    assert [column.label for column in plan([MINE], [0.5], [None], 1.0)] == [("base",), ("strength 0.5",)]
    second = Compared("other.safetensors", 0.5, columns.SILENT)
    assert [column.label for column in plan([MINE, second], [1.0, -2.0], [NO_WORDS, None], 1.0)][1:] == [
        ("mine", "strength 1", "no words"), ("mine", "strength 1", "+ 3d render (soft)", "- line art"),
        ("mine", "strength -2", "no words"), ("mine", "strength -2", "+ 3d render (soft)", "- line art"),
        ("other", "strength 0.5", "no words"), ("other", "strength -1", "no words"),
    ]  # fmt: skip


def test_labels_are_a_strangers_text() -> None:
    column = plan([MINE], [1.0], [NO_WORDS, Pair("a\u202eb\n" + 300 * "x", "")], 1.0)[-1]
    assert column.label == ("strength 1", "+ a b " + 56 * "x")


@given(
    st.lists(labels, min_size=1, max_size=4), st.lists(labels, min_size=1, max_size=3), st.integers(1, 70),
    st.integers(1, 70), st.integers(1, 3), st.integers(3, 4),
)  # fmt: skip
def test_every_cell_lies_in_the_picture_unchanged_and_alone(
    above: list[list[str]], beside: list[list[str]], height: int, width: int, frames: int, channels: int
) -> None:
    count = len(above) * len(beside)
    cells = list(torch.rand(count, frames, height, width, channels, generator=torch.Generator().manual_seed(3)))
    picture = grid.draw(cells, above, beside)
    layout = grid.lay_out((frames, height, width), above, beside)
    assert picture.shape == (frames, layout.height, layout.width, 3)
    free = torch.ones(layout.height, layout.width, dtype=torch.bool)
    for cell, (top, left) in zip(cells, layout.corners, strict=True):
        place = slice(top, top + height), slice(left, left + width)
        assert torch.equal(picture[:, *place], cell[..., :3])
        assert free[place].all()  # no other cell lies here
        assert torch.equal(layout.labels[place], paper_of(height, width))  # and nothing is written here
        free[place] = False
    assert torch.equal(picture[:, free], layout.labels[free].expand(frames, -1, -1))
    rows, lefts = {top for top, _ in layout.corners}, {left for _, left in layout.corners}
    assert (len(rows), len(lefts)) == (len(beside), len(above))


def paper_of(height: int, width: int) -> torch.Tensor:
    return (torch.tensor(grid.PAPER, dtype=torch.float32) / 255).expand(height, width, 3)


@pytest.mark.parametrize("side", [8, 64, 256])
def test_what_is_written_is_dark_and_stands_above_its_column_and_beside_its_row(side: int) -> None:
    written = grid.lay_out((1, side, side), [("left",), ("",), ("right", "two")], [("seed 1",), ("",)])
    ink = (written.labels < 0.5).all(-1)
    (top, left), (_, middle), (_, right), (below, _) = (written.corners[index] for index in (0, 1, 2, 3))
    header, margin = ink[:top], ink[:, :left]
    halves = (left + side + middle) // 2, (middle + side + right) // 2
    assert header[:, : halves[0]].any()
    assert not header[:, halves[0] : halves[1]].any()
    assert header[:, halves[1] :].any()
    assert margin[top:below].any()
    assert not margin[below:].any()
    assert not ink[top:, left:].any()


def test_long_labels_are_shortened_and_two_seeds_never_look_alike() -> None:
    wide = grid.lay_out((1, 64, 64), [(200 * "word ",)], [("seed 0",)])
    assert wide.width < 64 + 350
    last = [grid.lay_out((1, 64, 64), [("base",)], [(f"seed {2**64 - number}",)]).labels for number in (1, 2)]
    assert not torch.equal(*last)


def test_too_many_cells_and_too_large_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"13 columns and 5 rows are 65 cells, and 64 are the most\."):
        grid.check_cells(13, 5)
    grid.check_cells(16, 4)
    with pytest.raises(ValueError, match=r"The grid would have \d+ × \d+ pixels\. Take smaller latents"):
        grid.lay_out((1, 1024, 2048), [("a",)] * 9, [("b",)])
    with pytest.raises(ValueError, match=r"pixels and 500 frames"):
        grid.lay_out((500, 480, 832), [("a",)] * 8, [("b",)])


@pytest.mark.parametrize("error", [TypeError, ImportError])
def test_an_old_pillow_has_a_font_too(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """Before 10.1 `load_default` takes no size; without FreeType it refuses one."""
    bitmap = ImageFont.load_default_imagefont()

    def load_default(*size: int) -> Any:
        if size:
            raise error
        return bitmap

    monkeypatch.setattr(ImageFont, "load_default", load_default)
    layout = grid.lay_out((1, 64, 64), [("base 字 é",)], [("seed 1",)])
    assert (layout.labels[: layout.corners[0][0]] < 0.5).any()


class Vae:
    """Four pixels a latent, three channels; clips frame by frame, as core's VAE gives them."""

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        image = latent[:, :3].repeat_interleave(4, -1).repeat_interleave(4, -2).movedim(1, -1)
        return (image / 3).clamp(0, 1)


def fill(nodes, comfyui, kind: str = "PalateStrengthSweep", **inputs: Any) -> Any:
    given = {
        "model": comfyui.model(), "clip": comfyui.clip(), "vae": Vae(), "prompt": "a cat", "negative_prompt": "bad",
        "latent_image": {"samples": torch.zeros(1, 4, 4, 5)}, "lora_name": "mine.safetensors", "strengths": "0.5, 1",
        "word_strength": 1.0, "way": "prefix", "start": 0.0, "end": 0.5, "seed": 7, "seeds": 2, "steps": 3, "cfg": 2.0,
        "sampler_name": "euler", "scheduler": "simple", "denoise": 0.9, "guidance": 0.0, **inputs,
    }  # fmt: skip
    return nodes[kind].execute(**given)


def test_a_sweep_is_core_sampling_with_each_strength(comfyui, nodes) -> None:
    comfyui.lora()
    picture, images, named, info = fill(nodes, comfyui)
    assert [sum(strength for _, strength in job["patches"]) for job in comfyui.sampled] == [0, 0, 0.5, 0.5, 1, 1]
    assert [job["seed"] for job in comfyui.sampled] == 3 * [7, 8]
    assert {job["settings"] for job in comfyui.sampled} == {(3, 2.0, "euler", "simple", 0.9)}
    assert images.shape == (6, 16, 20, 3)
    layout = grid.lay_out((1, 16, 20), [("base",), ("strength 0.5",), ("strength 1",)], [("seed 7",), ("seed 8",)])
    for image, (top, left) in zip(images, layout.corners, strict=True):
        assert torch.equal(picture[0, top : top + 16, left : left + 20], image)
    assert named.splitlines() == [
        f"seed {seed}: {each}" for seed in (7, 8) for each in ("base", "strength 0.5", "strength 1")
    ]
    assert info.startswith("3 columns × 2 rows, 6 of 6 cells sampled\n\nno words\n\nmine.safetensors\n4 of 4 tensors")
    assert r"prefix: 3d render \(soft\) / line art at 1" in info
    assert fill(nodes, comfyui).ui == {"images": picture.shape}


def test_each_text_is_encoded_once_however_many_cells(comfyui, nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    comfyui.lora()
    clip, read = comfyui.clip(), []
    encode = type(clip).encode_from_tokens_scheduled
    monkeypatch.setattr(
        type(clip), "encode_from_tokens_scheduled",
        lambda self, tokens: read.append((self.patches, tokens["l"][0][0][0])) or encode(self, tokens),
    )  # fmt: skip
    fill(nodes, comfyui, clip=clip)
    worded = r"3d render \(soft\). a cat"
    assert [text for _, text in read] == ["a cat", "bad", worded, "line art. bad"]
    assert {patches for patches, _ in read} == {()}


def test_a_lora_with_a_text_part_reads_the_prompt_at_each_strength(
    comfyui, nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    comfyui.lora()
    monkeypatch.setattr(
        sys.modules["comfy.lora"], "model_lora_keys_clip", lambda _, known: {**known, "lora_unet_a": "text.weight"}
    )
    clip, read = comfyui.clip(), []
    encode = type(clip).encode_from_tokens_scheduled
    monkeypatch.setattr(
        type(clip), "encode_from_tokens_scheduled",
        lambda self, tokens: read.append(sum(by for _, by in self.patches)) or encode(self, tokens),
    )  # fmt: skip
    fill(nodes, comfyui, clip=clip, word_strength=0.0)
    assert read == [0, 0, 0.5, 0.5, 1, 1]


def test_a_comparison_samples_what_is_equal_once(comfyui, nodes) -> None:
    comfyui.lora()
    comfyui.lora("other.safetensors", words=[{"positive": "red", "negative": "blue"}])
    (chain,) = nodes["PalateChainLora"].execute("other.safetensors", 0.5, 1.0, positive_word="calm")
    _, images, named, info = fill(
        nodes, comfyui, "PalateCompareGrid", words="off\nown", strengths="0, 1", loras=chain, seeds=1
    )
    shown = [line.removeprefix("seed 7: ") for line in named.splitlines()]
    assert shown[:3] == ["base", "mine, strength 0, no words", "mine, strength 0, + 3d render (soft), - line art"]
    assert shown[-1] == "other, strength 0.5, + calm"
    assert "9 columns × 1 rows, 7 of 9 cells sampled" in info
    by_label = dict(zip(shown, images, strict=True))
    assert torch.equal(by_label["base"], by_label["other, strength 0, no words"])
    assert not torch.equal(by_label["other, strength 0.5, no words"], by_label["other, strength 0.5, + calm"])


def test_guidance_reaches_both_prompts_and_0_leaves_it_to_the_model(comfyui, nodes) -> None:
    comfyui.lora()
    for guidance in (0.0, 3.5):
        fill(nodes, comfyui, guidance=guidance)
        sides = [entry for side in ("positive", "negative") for entry in comfyui.sampled[-1][side]]
        assert [about.get("guidance", 0.0) for _, about in sides] == [guidance, guidance]


def test_a_clip_plays_in_step(comfyui, nodes) -> None:
    comfyui.lora()
    latent = {"samples": torch.zeros(1, 4, 6, 4, 5)}
    result = fill(nodes, comfyui, latent_image=latent, seeds=1)
    picture, images = result[:2]
    assert (len(picture), images.shape) == (6, (18, 16, 20, 3))
    layout = grid.lay_out((6, 16, 20), [("base",), ("strength 0.5",), ("strength 1",)], [("seed 7",)])
    for column, (top, left) in enumerate(layout.corners):
        assert torch.equal(picture[:, top : top + 16, left : left + 20], images[6 * column : 6 * column + 6])
    assert result.ui == {"images": [(picture.shape, 16)], "animated": (True,)}


def test_what_cannot_be_is_refused_before_anything_is_sampled(comfyui, nodes) -> None:
    comfyui.lora()
    for inputs, sentence in (
        ({"latent_image": {"samples": torch.zeros(3, 4, 4, 5)}}, "The latent is a batch of 3"),
        ({"strengths": "strong"}, "“strong” is no strength"),
        ({"strengths": " ".join(map(str, range(1, 17))), "seeds": 8}, "136 cells, and 64 are the most"),
    ):
        with pytest.raises(ValueError, match=sentence):
            fill(nodes, comfyui, **inputs)
    assert comfyui.sampled == []
    with pytest.raises(ValueError, match="The grid would have"):
        fill(nodes, comfyui, latent_image={"samples": torch.zeros(1, 4, 4, 2000)})
    assert len(comfyui.sampled) == 1
    for kind in ("PalateStrengthSweep", "PalateCompareGrid"):
        assert "“x” is no strength" in nodes[kind].validate_inputs(lora_name="mine.safetensors", strengths="x")
        assert nodes[kind].validate_inputs(lora_name="mine.safetensors", strengths="1") is True


def test_one_progress_bar_for_all_cells_and_a_stop_between_them(comfyui, nodes) -> None:
    """Core's sampler counts its own steps from 0; the node's bar goes on from cell to cell."""
    comfyui.lora()
    utils, core, seen = sys.modules["comfy.utils"], sys.modules["nodes"], []

    def whole(value: float, total: float, preview: Any, node_id: str | None) -> None:
        seen.append((value, total, preview))

    utils.PROGRESS_BAR_HOOK, sample = whole, core.common_ksampler

    def counting(model: Any, seed: int, steps: int, *settings: Any, **more: Any) -> Any:
        for step in range(steps):
            utils.PROGRESS_BAR_HOOK(step + 1, steps, "preview", node_id=None)
        return sample(model, seed, steps, *settings, **more)

    core.common_ksampler = counting
    fill(nodes, comfyui)
    assert seen == [(step + 1, 18, "preview") for step in range(18)]
    assert utils.PROGRESS_BAR_HOOK is whole

    def stop() -> None:
        if len(comfyui.sampled) == 8:
            raise InterruptedError

    sys.modules["comfy.model_management"].throw_exception_if_processing_interrupted = stop
    with pytest.raises(InterruptedError):
        fill(nodes, comfyui)
    assert len(comfyui.sampled) == 8
    assert utils.PROGRESS_BAR_HOOK is whole


def test_seeds_go_on_from_the_largest_to_0(comfyui, nodes) -> None:
    comfyui.lora()
    fill(nodes, comfyui, seed=2**64 - 1)
    assert [job["seed"] for job in comfyui.sampled[:2]] == [2**64 - 1, 0]
