"""A reward's file for ComfyUI: the weights under their published names, and how a score comes out of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from toolkit.errors import UsageError
from training.reward_export import KIND, export


@pytest.mark.parametrize(
    ("name", "settings", "geometry"),
    [("hpsv21", {}, "pad"), ("hpsv21", {"preprocessing": "srpo"}, "crop"), ("pickscore", {}, "crop")],
)
def test_the_file_holds_the_weights_and_says_how_to_score(
    reward_section: Callable[..., Any], tmp_path: Path, name: str, settings: dict[str, str], geometry: str
) -> None:
    section, file = reward_section(name, **settings), tmp_path / "out.safetensors"
    facts = export(section, file)
    assert facts["geometry"] == geometry
    assert facts["scale"] == pytest.approx(100.0 if name == "pickscore" else 1.0, rel=1e-3)
    with safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["palate"]) == {KIND: facts}
    weights = load_file(file)
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    first = file.read_bytes()
    export(section, file)
    assert file.read_bytes() == first


def test_published_numbers_are_kept(reward_section: Callable[..., Any], tmp_path: Path) -> None:
    """HPSv2.1 comes in float16, so nothing is rounded."""
    section = reward_section("hpsv21")
    export(section, tmp_path / "out.safetensors")
    published = torch.load(Path(section.settings["weights"]) / "HPS_v2.1_compressed.pt", weights_only=True)
    written = load_file(tmp_path / "out.safetensors")
    assert set(written) == set(published["state_dict"])
    assert all(torch.equal(written[name], weight) for name, weight in published["state_dict"].items())


def test_other_rewards_are_refused(reward_section: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written for ComfyUI"):
        export(reward_section("demo"), tmp_path / "out.safetensors")
