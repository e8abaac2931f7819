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
