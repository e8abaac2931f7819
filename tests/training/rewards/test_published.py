"""What is true of every scorer with downloaded weights: toy checkpoints with the published names, strictly loaded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import rewards as tiny_rewards
from torch import Tensor
from torch.testing import assert_close
from transformers import SiglipVisionModel

from toolkit.errors import UsageError
from toolkit.recipe import Section
from training import blueprint, sources, tables
from training.rewards import REWARDS, _open_clip, image_reward
from training.rewards._head import LinearHead

NAMES = ("aesthetic_v25", "clip", "hpsv21", "image_reward", "laion_aesthetic", "pickscore", "siglip")
TEXTUAL = ("clip", "hpsv21", "image_reward", "pickscore", "siglip")
DOT_PRODUCTS = ("clip", "hpsv21", "pickscore", "siglip")
LIMIT = {"clip": 77, "hpsv21": 77, "image_reward": 35, "pickscore": 77, "siglip": 64}
# What differences are measured in: a whole cosine, half of ImageReward's published range, else a score of 1.
UNIT = {"pickscore": 100.0, "siglip": 100.0, "image_reward": 2.3}
PAIR = ["3d render. a cat", "line art. a cat"]


def scores_of(reward: Any, pictures: Tensor, texts: list[str] = PAIR) -> Tensor:
    return reward.score(pictures, reward.target([texts] * len(pictures)))


def row(name: str, tiny: Callable[..., Any], names: int, photos: Tensor) -> dict[str, Any]:
    """One line of the table: the smallest gradient of a picture and the largest differences, in UNIT."""
    reward, half = tiny(name), tiny(name, dtype="bfloat16")
    seen = photos.clone().requires_grad_()
    together = scores_of(reward, seen)
    together.sum().backward()
    together = together.detach()
    alone = torch.cat([scores_of(reward, photos[i : i + 1]) for i in range(len(photos))])
    unit = UNIT.get(name, 1.0)
    return {
        "reward": name,
        "names": names,
        "gradient": f"{seen.grad.abs().amax(dim=(1, 2, 3)).min() / unit:.1e}",
        "batch": float((together - alone).abs().max()) / unit,
        "bfloat16": float((together - scores_of(half, photos)).abs().max()) / unit,
    }


def test_the_table_of_all_scorers(tiny: Callable[..., Any], photos: Tensor) -> None:
    """Shown with `pytest -s`: each line was loaded strictly, or there would be none."""
    assert set(NAMES) == set(tiny_rewards.BUILDERS) - {"mixture"}
    assert {name for name in REWARDS if not name.startswith("demo")} >= set(NAMES)
    rows = [row(name, tiny, len(tiny_rewards.golden(name)), photos) for name in NAMES]
    print(f"\n{'reward':16} {'names':>6} {'strict':>7} {'gradient':>9} {'batch diff':>11} {'bf16 diff':>10}")
    for r in rows:
        print(f"{r['reward']:16} {r['names']:6} {'yes':>7} {r['gradient']:>9} {r['batch']:11.1e} {r['bfloat16']:10.1e}")
    assert all(float(r["gradient"]) > 0 for r in rows)
    assert max(r["batch"] for r in rows) < 1e-5
    assert max(r["bfloat16"] for r in rows) < 1e-2


def test_full_size_names_are_the_published_ones() -> None:
    """Names and shapes only: nothing is allocated."""
    file = Path("published")

    def published(name: str) -> dict[str, Tensor]:
        shapes = tiny_rewards.golden(name, optional=True)
        return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}

    towers = sources.fill(_open_clip.maker(_open_clip.built_in("ViT-H-14")), published("hpsv21"), file)
    assert sum(p.numel() for p in towers.parameters()) == 986_109_441  # 986.1 M, as published
    weights = published("image_reward")
    network = sources.fill(
        lambda: image_reward.build(image_reward.Sizes.of(weights)), weights, file, unused=image_reward.UNUSED
    )
    assert network.blip["text_encoder"].config.encoder_hidden_size == 1024
    for name, width, prefix, numbers in (
        ("aesthetic_v25", 1152, "scoring_head.", (0, 2, 4, 6, 8)), ("laion_aesthetic", 768, "layers.", (0, 2, 4, 6, 7))
    ):  # fmt: skip
        sources.fill(lambda w=width, n=numbers: LinearHead(w, n), published(name), file, prefix=prefix)


@pytest.mark.parametrize("name", TEXTUAL)
def test_without_weights_a_scorer_has_the_published_sizes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And asks nobody for anything: a plan is made where neither its files nor the Hub are."""
    monkeypatch.setattr(sources, "locate", lambda *_: pytest.fail("it looked for a file"))
    with blueprint.weightless():
        reward = tables.reward(Section(name=name))
    built = {key: tuple(tensor.shape) for module in reward.children() for key, tensor in module.state_dict().items()}
    expected = {f"model.{key}" if name in DOT_PRODUCTS else key: s for key, s in tiny_rewards.golden(name).items()}
    assert built == expected
    assert {tensor.device.type for tensor in reward.parameters()} == {"meta"}


@pytest.mark.parametrize("name", TEXTUAL)
def test_without_weights_a_scorer_still_answers(name: str) -> None:
    """With nothing in it, but in the right shape and with the right operations."""
    with blueprint.weightless():
        reward = tables.reward(Section(name=name))
        blueprint.hollow(reward)
        with blueprint.mode(), blueprint.Numberless():
            pictures = torch.rand(2, 3, 96, 64, requires_grad=True)
            scores = scores_of(reward, pictures)
            scores.sum().backward()
            assert (scores.shape, pictures.grad.shape) == ((2, 2), pictures.shape)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["grey", "black", "white", "wide", "tall", "small"])
def test_unusual_pictures_have_finite_scores_and_gradients(name: str, kind: str, tiny: Callable[..., Any]) -> None:
    shape = {"wide": (20, 70), "tall": (70, 20), "small": (9, 9)}.get(kind, (40, 40))
    value = {"grey": 0.5, "black": 0.0, "white": 1.0}.get(kind)
    generator = torch.Generator().manual_seed(5)
    pictures = torch.full((1, 3, *shape), value) if value is not None else torch.rand(1, 3, *shape, generator=generator)
    pictures.requires_grad_()
    scores = scores_of(tiny(name), pictures)
    scores.sum().backward()
    assert scores.isfinite().all()
    assert pictures.grad.isfinite().all()
    assert pictures.grad.abs().max() > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "wrong", [torch.rand(1, 4, 40, 40), torch.rand(1, 3, 40, 40) * 2 - 1.01, torch.rand(1, 3, 40, 40) * 255]
)
def test_four_channels_and_other_ranges_are_refused(name: str, wrong: Tensor, tiny: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="a reward wants"):
        scores_of(tiny(name), wrong)


@pytest.mark.parametrize("name", TEXTUAL)
def test_a_relative_score_is_the_difference_of_two_full_passes(
    name: str, tiny: Callable[..., Any], photos: Tensor
) -> None:
    """Oracle 3, for k = 0; swapping the words flips the sign."""
    reward, unit = tiny(name), UNIT.get(name, 1.0)
    both = scores_of(reward, photos) / unit
    alone = [scores_of(reward, photos, [text])[:, 0] / unit for text in PAIR]
    assert_close(both[:, 0] - both[:, 1], alone[0] - alone[1], rtol=1e-4, atol=1e-5)
    swapped = scores_of(reward, photos, PAIR[::-1]) / unit
    assert_close(swapped[:, 0] - swapped[:, 1], both[:, 1] - both[:, 0], rtol=1e-4, atol=1e-5)
    assert (both[:, 0] - both[:, 1]).abs().min() > 1e-5


@pytest.mark.parametrize("name", TEXTUAL)
def test_a_long_prompt_is_reported_once_with_its_length(name: str, reward_section: Callable[..., Any]) -> None:
    reward = tables.reward(reward_section(name))
    long = "a cat and " * 60
    with pytest.warns(UserWarning, match=rf"`{name}` reads {LIMIT[name]} tokens, this prompt has \d+: its end is not"):
        first = reward.target([[long]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(reward.target([[long]]), first)
        reward.target([["a cat"]])


@pytest.mark.parametrize("name", TEXTUAL)
def test_features_of_an_earlier_word_are_never_used_for_a_later_one(
    name: str, reward_section: Callable[..., Any]
) -> None:
    section = reward_section(name)
    warm = tables.reward(section)
    warm.target([["3d render. a cat"]])
    later = warm.target([["clay. a cat"]])
    assert torch.equal(later, tables.reward(section).target([["clay. a cat"]]))


@pytest.mark.parametrize("name", NAMES)
def test_a_video_scores_as_the_mean_of_its_frames(name: str, tiny: Callable[..., Any], photos: Tensor) -> None:
    reward = tiny(name, frames=2)
    video = photos[None]
    expected = scores_of(reward, photos[[0, 2]]).mean(dim=0)
    assert_close(scores_of(reward, video)[0], expected, rtol=1e-4, atol=1e-4)
    assert scores_of(reward, video).shape == (1, 2)
    assert reward.frames_scored == 2


@pytest.mark.parametrize("name", NAMES)
def test_no_setting_of_a_missing_file_gets_past_the_door(name: str, reward_section: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"There is no file or folder `no/such/place`, and it is no Hub id either\."):
        tables.reward(reward_section(name, weights="no/such/place"))


def test_the_siglip_tower_of_a_whole_checkpoint_is_the_one_transformers_loads(
    tiny: Callable[..., Any], reward_section: Callable[..., Any]
) -> None:
    folder = reward_section("aesthetic_v25").settings["weights"]
    pixels = torch.rand(2, 3, 28, 28)
    expected = SiglipVisionModel.from_pretrained(folder)(pixel_values=pixels).pooler_output
    assert_close(tiny("aesthetic_v25").features(pixels), expected, rtol=1e-4, atol=1e-5)
