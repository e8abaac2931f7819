"""`palate queue …`: what it prints and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit import lanes
from toolkit.run_queue import Queue, line

RECIPE = "name: mine\nwords: {positive: 3d render, negative: line art}\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return Path("mine.yaml")


def test_a_recipe_is_queued_moved_paused_and_cancelled(call, recipe: Path) -> None:
    assert call("queue", "list")[1].startswith("Nothing is queued.")
    code, out, _ = call("queue", "add", str(recipe))
    assert (code, out.splitlines()[0]) == (0, "Queued as #1: mine")
    assert "Nobody works this queue" in out
    assert call("queue", "add", str(recipe), "--priority", "2")[1].startswith("Queued as #1: mine-2")
    assert call("queue", "move", "mine", "1")[1] == "Now #1: mine\n"
    assert call("queue", "duplicate", "mine")[1].startswith("Queued: mine-3")
    assert call("queue", "pause", "mine")[1].startswith("Paused: mine.")
    assert call("queue", "cancel", "mine-3")[1].startswith("Cancelled: mine-3.")
    listed = call("queue", "list")[1]
    assert [word for word in ("#1", "paused", "#2", "queued", "cancelled") if word not in listed] == []
    assert call("queue", "resume")[1].startswith("Back in the line: 1 runs")
    assert [entry.name for entry in line(Queue(Path("runs")).entries())] == ["mine", "mine-2"]


def test_what_cannot_be_is_one_sentence_and_a_code(call, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    call("queue", "add", str(recipe))
    for arguments, sentence in (
        (("add", str(recipe), "--gpus", "2"), "asks for 2 GPUs, and this machine has none"),
        (("pause", "other"), "There is no run `other`"),
        (("add", "mistake"), "There is no ready recipe `mistake`"),
        (("move", "mine", "0"), "Invalid value for 'place'"),
    ):
        code, _, problem = call("queue", *arguments)
        assert code == 2
        assert sentence in problem


def test_the_setting_is_kept_and_said(call, recipe: Path) -> None:
    assert call("queue", "settings")[1] == "When the Studio is opened again, runs that wait are paused.\n"
    assert "start by themselves" in call("queue", "settings", "--start-after-restart")[1]
    assert "start by themselves" in call("queue", "settings")[1]


CHOSEN = {"2,3": "2 3", "": "cpu", "-1": "cpu", "1,-1,0": "1", " GPU-ab , GPU-cd": "GPU-ab GPU-cd"}


@pytest.mark.parametrize("visible", CHOSEN)
def test_the_users_choice_of_gpus_wins(visible: str) -> None:
    assert lanes.discover({"CUDA_VISIBLE_DEVICES": visible}) == tuple(CHOSEN[visible].split())


def test_a_lane_shows_its_process_one_gpu_and_the_cpu_hides_nothing() -> None:
    assert lanes.environment(["2", "0"]) == {"CUDA_VISIBLE_DEVICES": "2,0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert lanes.environment([lanes.CPU]) == {}
