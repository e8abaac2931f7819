"""Pairs of the base's own pictures: written so that they can be read back, drawn again and learned from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from toolkit import pairs, recipe
from toolkit.errors import UsageError
from toolkit.pairs import Pair
from toolkit.recipe import Recipe
from training import build
from training.contracts import PairBatch
from training.pair_builder import PairBuilder
from training.previews import to_picture
from training.randomness import Rng
from training.rollout import sample

PROMPTS = ("a cat", "a red car", "a frog")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "train.txt").write_text("\n".join(PROMPTS))
    return recipe.parse(
        {
            "method": "dpo", "data": {"pairs": str(folder / "pairs")}, "prompts": {"train": str(folder / "train.txt")},
            "words": {"positive": "3d render", "negative": "line art"}, "lora": {"rank": 2},
            "training": {"batch_size": 3}, "validation": {"steps": 3, "guidance_scale": 2.0},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def built(content: Recipe) -> list[dict]:
    folder = Path(content.data.pairs)
    said = PairBuilder(content, per_prompt=3).write(folder)
    lines = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    assert said["kept"] == len(lines) == 3
    assert said["mean_gap"] == pytest.approx(sum(e["score_chosen"] - e["score_rejected"] for e in lines) / 3)
    return lines


def test_the_best_stands_against_the_worst_by_the_trained_rewards_own_scores(content: Recipe, built: list) -> None:
    reward = build.scorer(content.reward, torch.device("cpu"))
    for line in built:
        pixels = []
        for side in ("chosen", "rejected"):
            with Image.open(Path(content.data.pairs) / line[side]) as image:
                pixels.append(torch.tensor(list(image.tobytes())).view(64, 64, 3).permute(2, 0, 1) / 255)
        texts = [f"{word}. {line['prompt']}" for word in ("3d render", "line art")]
        scores = reward.score(torch.stack(pixels), reward.target([texts] * 2))
        seen = (scores[:, 0] - scores[:, 1]).tolist()
        assert seen == pytest.approx([line["score_chosen"], line["score_rejected"]], abs=0.01)
        assert line["score_chosen"] > line["score_rejected"]


def test_a_recorded_seed_draws_the_picture_again(content: Recipe, built: list) -> None:
    stage, line = build.stage(content, torch.device("cpu")), built[1]
    seed, number, row = map(int, line["seed_chosen"].split("/"))
    noise = Rng(seed, number, (row,)).normal("pairs", stage.policy.latent_shape)
    steps, scale = line["steps"], line["guidance_scale"]
    latents = sample(stage.policy, noise, stage.encode([line["prompt"]]), steps=steps, guidance_scale=scale)
    again = to_picture(stage.policy.decode(latents).detach()[0])
    with Image.open(Path(content.data.pairs) / line["chosen"]) as kept:
        difference = [abs(a - b) for a, b in zip(kept.tobytes(), again.tobytes(), strict=True)]
    assert max(difference) <= 1  # a picture drawn alone may round otherwise
    assert line["source_model"] == stage.policy.base.lora_facts.base_name


@pytest.mark.usefixtures("built")
def test_a_run_learns_from_what_was_built(content: Recipe) -> None:
    found = pairs.read("pairs", content.data.pairs)
    assert not found.dropped
    assert {item.prompt for item in found.kept} == set(PROMPTS)
    assert all(isinstance(item, Pair) and item.scores for item in found.kept)
    parts = build.parts(content, Accelerator(cpu=True))
    batch, rng = parts.batches.micro_batch(0, 0)
    assert isinstance(batch, PairBatch)
    assert batch.chosen.shape == batch.rejected.shape == (3, *parts.policy.latent_shape)
    reports = list(parts.method.losses(parts.policy, parts.reward, batch, rng))
    assert reports[0].metrics["loss"].item() == pytest.approx(0.693147, abs=1e-6)
    assert torch.equal(reports[0].metrics["logit"], torch.zeros(3))  # a fresh LoRA is the base, bit for bit


def test_what_cannot_be_built_is_told(content: Recipe, tmp_path: Path) -> None:
    builder = PairBuilder(content, per_prompt=2)
    with pytest.raises(UsageError, match=r"differs by more than 9.*smaller gap"):
        builder.write(tmp_path / "close", limit=1, least_gap=9)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        builder.write(tmp_path)
