"""Refusals before anything loads, and variants side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import folders

from toolkit import plan as said
from toolkit import recipe
from toolkit.errors import UsageError
from training import plan

WORDS = {"positive": "3d render", "negative": "line art"}
DEMO = recipe.parse({"words": WORDS, "lora": {"rank": 4}, "training": {"keep_checkpoints": 2}})


def test_a_run_writes_three_times_its_lora_per_checkpoint() -> None:
    """Weights and two moments, for those kept, the best one and the one being written."""
    found = plan.sizes(DEMO)
    assert plan.disk(DEMO, found, Path.cwd())["checkpoints"] == 3 * found.lora_bytes * (2 + 2)


def test_a_disk_too_small_for_the_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = plan.disk(DEMO, plan.sizes(DEMO), tmp_path)["run"]
    monkeypatch.setattr(plan, "free_bytes", lambda _: needed - 1)
    with pytest.raises(UsageError, match=r"The run writes about .* MB, .* MB are free where it lies") as caught:
        plan.refuse_what_does_not_fit(DEMO, torch.device("cpu"), tmp_path)
    assert "keep_checkpoints" in caught.value.action
    (tmp_path / "checkpoint").write_bytes(b"x")  # what is resumed has written some of it already
    plan.refuse_what_does_not_fit(DEMO, torch.device("cpu"), tmp_path)


def test_variants_stand_side_by_side(tmp_path: Path) -> None:
    for role in ("train", "validation"):
        (tmp_path / f"{role}.txt").write_text(f"a red cat of {role}\n", encoding="utf-8")
    lists = {role: str(tmp_path / f"{role}.txt") for role in ("train", "validation")}
    base: dict[str, Any] = {"name": "flux", **folders.section("flux").settings}
    method, short = {"name": "srpo", "rollout_steps": 2}, {"steps": 2}
    content = recipe.parse(
        {"base": base, "method": method, "words": WORDS, "prompts": lists, "validation": short},
        {"base.width": 128, "base.height": 128},
    )
    rows = plan.table(content)
    full, packed = rows["float32 weights"], rows["nf4 weights"]
    assert list(full["needed_bytes"]) == ["1", "2", "8"]
    assert packed["phases"]["load"] < full["phases"]["load"]
    assert full["phases"]["denoise"] < rows["float32 weights, no checkpointing"]["phases"]["denoise"]
    found = plan.rehearse(content)
    assert full["phases"] == pytest.approx(found.peaks, rel=0.01)
    heading, _, *lines = said.table(rows)
    assert heading.endswith("| needs on 1 GPU | on each of 2 | on each of 8 |")
    assert [line.split(" |")[0] for line in lines] == [f"| {name}" for name in rows]


def test_a_base_without_variants_says_so() -> None:
    with pytest.raises(UsageError, match="`demo` has no variants to compare"):
        plan.table(DEMO)
