"""The workflow of a run: offered where core's nodes draw the family, and made as its previews were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from safetensors.numpy import save_file

from toolkit import atomic, recipe
from toolkit.run_folder import RunFolder
from toolkit.studio import reading, reproduce
from toolkit.studio.reproduce import Reproduce

MakeRun = Callable[..., RunFolder]
HOSTILE = "<script>alert(1)</script> {{value}}"


@pytest.fixture
def run(make_run: MakeRun) -> RunFolder:
    """With a LoRA that says what it is for."""
    run = make_run()
    header = {"ss_base_model_version": "demo", "modelspec.architecture": "palate-demo/lora"}
    save_file({"a": np.zeros(1, np.float32)}, run.lora / "taste.safetensors", header)
    return run


def made(run: RunFolder, *typed: object) -> str:
    with gr.Blocks():
        return Reproduce(run.path.parent).make(run.name, *typed)  # type: ignore[arg-type]


def nodes(run: RunFolder) -> dict[str, list[object]]:
    content = json.loads((run.path / "report" / "taste-comfyui.json").read_text())
    return {node["type"]: node["widgets_values"] for node in content["nodes"]}


def test_what_is_left_empty_is_the_runs_own(run: RunFolder) -> None:
    drawn = made(run, "", "", " ", "", False)
    assert 'download="taste-comfyui.json"' in drawn
    assert nodes(run)["KSampler"][0] == run.recipe().training.seed
    assert nodes(run)["KSampler"][2] == run.recipe().validation.steps


def test_what_is_typed_goes_into_the_workflow(run: RunFolder) -> None:
    drawn = made(run, HOSTILE, "7", "5", "-0.5", True)
    assert "<script" not in drawn
    assert nodes(run)["KSampler"][:3] == [7, "fixed", 5]
    prompt, _, _, strength, *_, word_strength, words = nodes(run)["PalateAlignedPrompt"]
    assert (prompt, strength, word_strength, words) == (HOSTILE, -0.5, 1.0, "both")


@pytest.mark.parametrize("typed", [("x", "", ""), ("-1", "", ""), ("", "0", ""), ("", "", "9"), ("", "", "nan")])
def test_a_number_that_cannot_be_is_refused_and_nothing_is_written(run: RunFolder, typed: tuple[str, ...]) -> None:
    assert 'role="alert"' in made(run, "", *typed, False)
    assert not (run.path / "report").exists()


def test_it_is_offered_only_where_there_is_a_graph_and_a_lora(run: RunFolder, tmp_path: Path) -> None:
    assert reproduce.is_possible(reading.view(run))
    other = run.recipe().model_copy(update={"base": recipe.Section(name="hunyuan_dit")})
    atomic.write_file(run.recipe_file, other.to_yaml())
    assert not reproduce.is_possible(reading.view(run))
    for file in run.lora_files():
        file.unlink()
    assert not reproduce.is_possible(reading.view(run))
    with gr.Blocks():
        assert "There is no run" in Reproduce(tmp_path).make("../elsewhere", "", "", "", "", False)
