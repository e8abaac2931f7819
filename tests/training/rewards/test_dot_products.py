"""HPSv2.1, PickScore, CLIP and SigLIP give the scores that their libraries' own models give, on their own scales."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close
from transformers import CLIPModel, CLIPTokenizer, PreTrainedTokenizerFast, SiglipModel

from toolkit.errors import UsageError
from training import sources, tables

PROMPT = "3d render. a cat"


@pytest.fixture
def square() -> Tensor:
    """Pictures of the toy models' own size, which preprocessing only normalises."""
    return torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(9))


def one_text(reward: Any, pictures: Tensor) -> Tensor:
    return reward.score(pictures, reward.target([[PROMPT]] * len(pictures)))[:, 0]


def test_hpsv21_is_open_clips_cosine(
    tiny: Callable[..., Any], reward_section: Callable[..., Any], square: Tensor
) -> None:
    """Source: open_clip.create_model with the same weights."""
    settings = reward_section("hpsv21").settings
    model = open_clip.create_model(settings["model"])
    checkpoint = torch.load(Path(settings["weights"], "HPS_v2.1_compressed.pt"), weights_only=True)
    model.load_state_dict(checkpoint["state_dict"])
    pixels = (square - torch.tensor(open_clip.OPENAI_DATASET_MEAN)[:, None, None]) / torch.tensor(
        open_clip.OPENAI_DATASET_STD
    )[:, None, None]
    with torch.no_grad():
        pictures = model.eval().encode_image(pixels, normalize=True)
        text = model.encode_text(open_clip.tokenize([PROMPT]), normalize=True)
    assert_close(one_text(tiny("hpsv21"), square), (pictures @ text.T)[:, 0], rtol=1e-4, atol=1e-5)


def test_hpsv21_pads_or_crops_what_is_not_square(tiny: Callable[..., Any], square: Tensor) -> None:
    official, srpo = tiny("hpsv21"), tiny("hpsv21", preprocessing="srpo")
    wide = torch.rand(1, 3, 40, 80, generator=torch.Generator().manual_seed(2))
    assert_close(one_text(official, square), one_text(srpo, square))
    assert (one_text(official, wide) - one_text(srpo, wide)).abs() > 1e-4


def test_hpsv21_from_safetensors_is_the_same(tiny: Callable[..., Any], tmp_path: Path, square: Tensor) -> None:
    published = tiny("hpsv21")
    weights = {name: t.half().contiguous() for name, t in published.towers.model.state_dict().items()}
    save_file(weights, tmp_path / "HPS_v2.1_compressed.safetensors")
    again = tiny("hpsv21", weights=str(tmp_path / "HPS_v2.1_compressed.safetensors"))
    assert_close(one_text(again, square), one_text(published, square))


def test_an_architecture_that_open_clip_does_not_have_is_refused(reward_section: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"open_clip has no model `ViT-H-41`\. Did you mean `ViT-H-1"):
        tables.reward(reward_section("hpsv21", model="ViT-H-41"))


@pytest.mark.parametrize(("scale", "divisor"), [("logit", 1), ("rl", 26), ("srpo", 20)])
def test_pickscore_is_clips_own_logit_on_three_scales(
    scale: str, divisor: int, tiny: Callable[..., Any], reward_section: Callable[..., Any], square: Tensor
) -> None:
    """Source: CLIPModel.forward's logits_per_image."""
    settings = reward_section("pickscore").settings
    model, tokenizer = (
        _independent(CLIPModel, settings["weights"]),
        CLIPTokenizer.from_pretrained(settings["tokenizer"]),
    )
    reward = tiny("pickscore", scale=scale)
    tokens = tokenizer(PROMPT, padding="max_length", max_length=77, return_tensors="pt").input_ids
    logits = model(input_ids=tokens, pixel_values=reward.prepare(square)).logits_per_image[:, 0]
    assert_close(one_text(reward, square), logits / divisor, rtol=1e-4, atol=1e-4)


def test_siglip_is_its_own_logit_and_reads_lower_case(
    tiny: Callable[..., Any], reward_section: Callable[..., Any], square: Tensor
) -> None:
    """Source: SiglipModel.forward's logits_per_image, scale · cos + bias."""
    folder = reward_section("siglip").settings["weights"]
    model, tokenizer = _independent(SiglipModel, folder), PreTrainedTokenizerFast.from_pretrained(folder)
    reward = tiny("siglip")
    tokens = tokenizer(PROMPT, padding="max_length", max_length=64, return_tensors="pt").input_ids
    logits = model(input_ids=tokens, pixel_values=square * 2 - 1).logits_per_image[:, 0]
    assert_close(one_text(reward, square), logits, rtol=1e-4, atol=1e-3)
    assert torch.equal(reward.target([["A Cat"]]), reward.target([["a cat"]]))


def test_clip_has_three_forms(tiny: Callable[..., Any], square: Tensor) -> None:
    """arXiv:2104.08718: 2.5 max(cos, 0) with its prefix; torchmetrics' form is 100 max(cos, 0)."""
    cosine, hessel, percent = (tiny("clip", variant=v) for v in ("cosine", "hessel", "percent"))
    plain = one_text(cosine, square)
    assert_close(one_text(percent, square), 100 * plain.clamp(min=0))
    prefixed = cosine.score(square, cosine.target([[f"A photo depicts {PROMPT}"]] * 2))[:, 0]
    assert_close(one_text(hessel, square), 2.5 * prefixed.clamp(min=0))


@pytest.mark.parametrize("mode", ["shortest", "squash"])
def test_clip_reads_open_clips_layout_too(
    mode: str, tiny: Callable[..., Any], reward_section: Callable[..., Any], tmp_path: Path
) -> None:
    hps = tiny("hpsv21")
    model = open_clip.get_model_config(reward_section("hpsv21").settings["model"])
    described = {"model_cfg": model, "preprocess_cfg": {"resize_mode": mode}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    save_file(
        {name: t.contiguous() for name, t in hps.towers.model.state_dict().items()},
        tmp_path / "open_clip_model.safetensors",
    )
    reward = tiny("clip", weights=str(tmp_path), library="open_clip")
    square, wide = torch.rand(1, 3, 28, 28), torch.rand(1, 3, 30, 60)
    assert_close(one_text(reward, square), one_text(hps, square))
    assert reward.prepare.geometry == {"shortest": "crop", "squash": "stretch"}[mode]
    assert one_text(reward, wide).isfinite().all()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{}", "`open_clip_config.json` does not describe an open_clip model"),
        ('{"model_cfg": {"text_cfg": {"hf_model_name": "bert"}}}', "borrows its text part from another library"),
    ],
)
def test_an_open_clip_folder_that_cannot_be_used_is_refused(
    config: str, words: str, reward_section: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "open_clip_config.json").write_text(config)
    save_file({"x": torch.zeros(1)}, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(UsageError, match=words):
        tables.reward(reward_section("clip", weights=str(tmp_path), library="open_clip"))


def test_a_model_of_another_kind_is_named(reward_section: Callable[..., Any]) -> None:
    clip = reward_section("clip").settings["weights"]
    with pytest.raises(UsageError, match=r"is a `clip` model, `siglip` is needed"):
        tables.reward(reward_section("siglip", weights=clip))


def test_a_checkpoint_with_a_foreign_name_is_refused_by_that_name(
    reward_section: Callable[..., Any], tmp_path: Path
) -> None:
    folder = Path(reward_section("clip").settings["weights"])
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = sources.read_weights(folder / "model.safetensors")
    weights["extra.weight"] = weights.pop("visual_projection.weight")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(
        UsageError, match=r"1 names missing, first `visual_projection.weight`; 1 names unknown, first `e"
    ):
        tables.reward(reward_section("clip", weights=str(tmp_path)))


def test_a_folder_without_a_tokenizer_or_a_description_is_refused(
    reward_section: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"has no file `tokenizer\.json`"):
        tables.reward(reward_section("pickscore", tokenizer=str(tmp_path)))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="has no tokenizer that can be read"):
        tables.reward(reward_section("pickscore", tokenizer=str(tmp_path)))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"`config\.json` does not describe a model"):
        tables.reward(reward_section("pickscore", weights=str(tmp_path)))


def test_a_tokenizer_of_another_model_is_refused(reward_section: Callable[..., Any], tiny: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"The tokenizer has 2048 tokens, the model knows 64\."):
        tables.reward(reward_section("siglip", weights=_with_the_demos_tokenizer(reward_section)))


def _with_the_demos_tokenizer(reward_section: Callable[..., Any]) -> str:
    folder = Path(reward_section("siglip").settings["weights"])
    other = folder.parent / "siglip-with-clips-tokenizer"
    other.mkdir()
    for file in [*folder.iterdir(), *Path(reward_section("pickscore").settings["tokenizer"]).glob("tokenizer*")]:
        (other / file.name).write_bytes(file.read_bytes())
    return str(other)


def _independent(cls: Any, folder: str) -> Any:
    """The library's own way in, without gradient."""
    return cls.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval().requires_grad_(False)
