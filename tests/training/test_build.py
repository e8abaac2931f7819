"""What a run is made of is put together in an order that costs the least when something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from toolkit import recipe
from toolkit.errors import UsageError
from training import build, tables

CONTENT = {"words": {"positive": "3d render", "negative": "line art"}}


def test_a_lost_prompt_is_what_guidance_guides_away_from(tmp_path: Path, folder_of_pairs) -> None:
    data = {"pairs": folder_of_pairs(tmp_path, range(3)), "prompt_dropout": 1}
    parts = build.parts(
        recipe.parse({"method": "dpo", "data": data, "training": {"batch_size": 2}}), Accelerator(cpu=True)
    )
    batch, _ = parts.batches.micro_batch(0, 0)
    for name, value in parts.policy.base.encode_nothing().items():
        assert torch.equal(batch.conditioning[name], value.expand_as(batch.conditioning[name]))
    assert all(prompt.startswith("thing") for prompt in batch.prompts)


@pytest.mark.parametrize("place", ["reward", "validation.scorer"])
def test_a_missing_scorer_is_refused_before_the_base_loads(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "base", lambda _: pytest.fail("the base was loaded"))
    content = recipe.parse(CONTENT, {place: {"name": "hpsv21", "weights": str(tmp_path)}})
    with pytest.raises(UsageError, match=r"has no file `HPS_v2\.1_compressed\.pt`"):
        build.parts(content, Accelerator(cpu=True))


def test_scorers_wait_in_ram_until_the_text_encoders_have_left(monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    release, move = build.Policy.release_text, torch.nn.Module.to

    def release_text(self: build.Policy) -> None:
        order.append("text left")
        release(self)

    def to(self: torch.nn.Module, *arguments: object, **options: object) -> torch.nn.Module:
        order.append(type(self).__name__)
        return move(self, *arguments, **options)

    monkeypatch.setattr(build.Policy, "release_text", release_text)
    monkeypatch.setattr(torch.nn.Module, "to", to)
    build.parts(recipe.parse(CONTENT), Accelerator(cpu=True))
    assert order[-3:] == ["text left", "DemoReward", "DemoSecond"]
