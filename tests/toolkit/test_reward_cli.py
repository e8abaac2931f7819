"""The commands for rewards and words as a user types them: what they refuse at once, and one of each to its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny import emoji
from tiny import rewards as tiny_rewards

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["words", "learn", "likes", "--output", "taste.pt"], ".safetensors"),
        (["words", "learn", "likes", "--output", "t.safetensors", "--positive", "a", "--negative", "A"], "must differ"),
        (["reward", "train-latent", "demoo", "pairs", "--output", "l.safetensors"], "Did you mean `demo`?"),
        (["reward", "export-comfyui", "hps.pt", "--output", "hps.pt"], ".safetensors"),
        (["reward", "tune", "photos", "--output", "t.safetensors"], "--word"),
        (["words", "learn", "likes", "--output", "t.safetensors", "--set", "steps"], "KEY=VALUE"),
    ],
)
def test_wrong_use_is_refused_before_a_child_starts(call: Call, arguments: list[str], said: str) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert said in err


def test_words_are_listed_by_their_bare_name_and_by_no_words(call: Call) -> None:
    assert "3d render" in call("words")[1]
    assert "3d render" in call("words", "--base", "demo")[1]
    assert "learn" in call("words", "--help")[1]


@pytest.mark.slow
def test_words_are_learned_and_named_for_a_recipe(call: Call, tmp_path: Path) -> None:
    emoji.write(
        tmp_path / "likes", range(10), lambda style, name: ("disliked" if style == "line art" else "liked", name)
    )
    code, out, err = call("words", "learn", "likes", "--output", "taste.safetensors", "--set", "steps=2")
    assert code == 0, err
    assert "demo_second" in out
    assert "learned: taste.safetensors" in out
    assert (tmp_path / "taste.safetensors").is_file()
    words = f"words={{positive: <liked>, negative: <disliked>, learned: {tmp_path / 'taste.safetensors'}}}"
    short = ["training.updates=1", "training.batch_size=2", "validation.steps=2", "method.rollout_steps=2", words]
    code, _, err = call("train", "demo", "--output", "run", "-q", *[part for s in short for part in ("--set", s)])
    assert code == 0, err
    assert list((tmp_path / "run" / "lora").iterdir())
    code, _, err = call("words", "learn", "likes", "--output", "taste.safetensors", "--set", "steps=0")
    assert code == 2
    assert "The setting `steps` is not right" in err


@pytest.mark.slow
def test_a_reward_is_tuned_and_measured(call: Call, tmp_path: Path) -> None:
    emoji.write(tmp_path / "photos", range(8), lambda style, name: ("", f"{style} of {name}"))
    code, out, err = call(
        "reward", "tune", "photos", "--word", "line art", "--word", "cartoon", "--output", "tuned.safetensors",
        "--set", "steps=1", "--set", "size=64",
    )  # fmt: skip
    assert code == 0, err
    assert "line art / cartoon" in out
    assert f"tuned: {tmp_path / 'tuned.safetensors'}" in out


@pytest.mark.slow
def test_a_latent_reward_is_trained_followed_and_guides(call: Call, tmp_path: Path) -> None:
    """From pairs to a run of two updates to a picture drawn under its guidance."""
    sides = {"3d render": "chosen", "line art": "rejected"}
    emoji.write(tmp_path / "all", range(10), lambda style, name: (sides.get(style, "others"), name))
    lines = []
    for number in range(10):
        chosen, rejected = (
            tmp_path / "all" / side / f"{number:03d}_{n}.png" for side, n in (("chosen", 0), ("rejected", 2))
        )
        prompt = chosen.with_suffix(".txt").read_text()
        lines.append(
            json.dumps({"prompt": prompt, "chosen": f"chosen/{chosen.name}", "rejected": f"rejected/{rejected.name}"})
        )
    (tmp_path / "all" / "pairs.jsonl").write_text("\n".join(lines))
    steps = ("--set", "steps=2", "--set", "batch_size=2", "--set", "width=8")
    code, out, err = call("reward", "train-latent", "demo", "all", "--output", "latent.safetensors", *steps)
    assert code == 0, err
    assert "0.9" in out
    method = f"method={{name: latent_reward, weights: {tmp_path / 'latent.safetensors'}, rollout_steps: 2}}"
    short = ["training.updates=2", "training.batch_size=2", "validation.every=2", "validation.steps=2", method]
    code, _, err = call("train", "demo", "--output", "run", "-q", *[part for s in short for part in ("--set", s)])
    assert code == 0, err
    drawn = []
    for more in ((), ("--guide", "latent.safetensors", "--guide-scale", "50")):
        code, _, err = call(
            "sample", "run", "--prompt", "a cat", "--count", "1", "--steps", "2", "--output", "s", *more
        )
        assert code == 0, err
        drawn.append((tmp_path / "s" / "000.png").read_bytes())
    assert drawn[0] != drawn[1]


@pytest.mark.slow
def test_a_reward_is_written_for_comfyui(call: Call, tmp_path: Path) -> None:
    made = tiny_rewards.section("pickscore", tmp_path)
    tokenizer = f"tokenizer={made.settings['tokenizer']}"
    export = ("reward", "export-comfyui", made.settings["weights"], "--reward")
    code, out, err = call(*export, "pickscore", "--output", "p.safetensors", "--set", tokenizer)
    assert code == 0, err
    assert "pickscore, crop, score 100 x cosine" in out
    with safe_open(tmp_path / "p.safetensors", "pt") as file:
        said = json.loads(file.metadata()["palate"])["preference"]
        assert {"visual_projection.weight", "text_projection.weight"} <= set(file.keys())
        assert file.get_tensor("text_projection.weight").dtype == torch.float16
    assert (said["reward"], said["geometry"]) == ("pickscore", "crop")
    code, _, err = call(*export, "siglip", "--output", "s.safetensors")
    assert code == 2
    assert "Choose hpsv21 or pickscore." in err
