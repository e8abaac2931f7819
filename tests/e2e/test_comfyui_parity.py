"""A LoRA trained by Palate changes a network in ComfyUI as it does in diffusers, at the width of published networks.

pytest -m long tests/e2e/test_comfyui_parity.py -s -k flux   (after `make comfyui`, or with COMFYUI_PATH: see
real_comfyui.py; without -k every family)

Every family is trained for two updates, on random weights: 0.1 to 0.9 billion numbers in float32, up to 10 GB of memory
and 4 GB of disk, one family at a time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from real_comfyui import needed
from safetensors.torch import load_file
from torch import Tensor
from wide.answers import CASES
from wide.networks import FAMILIES
from wide.training import LORAS, loras

ROOT = Path(__file__).parents[2]
SINCE = {"z_image": (0, 3, 75)}  # releases before it do not know the family
COMPARED = ("negative", "stacked")  # weight by weight with core's
CLOSE = 1e-5  # of the output's length: float32 in another order of operations
pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3600), needed]


@dataclass(frozen=True)
class Lesson:
    """A family's folder: network.safetensors, inputs.safetensors, answers.safetensors, and two trained LoRAs."""

    family: str
    folder: Path

    def files(self, *, comfyui: bool) -> list[Path]:
        """Both LoRAs as one of the two programs reads them."""
        return [loras(self.folder, name)[-1 if comfyui else 0] for name in LORAS]


@pytest.fixture(scope="module", params=FAMILIES)
def lesson(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lesson]:
    """Trained and asked in diffusers by a process that gives all memory back; gigabytes, deleted afterwards."""
    made = Lesson(request.param, tmp_path_factory.mktemp(request.param))
    search = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "wide.lesson", made.family, str(made.folder)],
            env={**os.environ, "PYTHONPATH": search}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        yield made
    finally:
        shutil.rmtree(made.folder)


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def ours(model: list[Any], name: str, strength: float) -> dict[str, Any]:
    return node("PalateLoadAlignedLora", model=model, lora_name=name, strength_model=strength, strength_clip=1.0)


def core(model: list[Any], name: str, strength: float) -> dict[str, Any]:
    return node("LoraLoaderModelOnly", model=model, lora_name=name, strength_model=strength)


def workflow(lesson: Lesson, folder: Path) -> dict[str, Any]:
    """Core's loader; for every case the node's LoRAs and the network's output; core's LoRAs beside them for some."""
    graph = {"model": node("UNETLoader", unet_name="network.safetensors", weight_dtype="default")}
    for case, strengths in CASES.items():
        last = {side: ["model", 0] for side in ("ours", "core")}
        for number, (name, strength) in enumerate(zip(LORAS, strengths, strict=False)):
            for side, load in (("ours", ours), ("core", core)):
                graph[f"{case} {side} {number}"] = load(last[side], f"{name}.safetensors", strength)
                last[side] = [f"{case} {side} {number}", 0]
        files = {"inputs": str(lesson.folder / "inputs.safetensors"), "output": str(folder / f"{case}.safetensors")}
        graph[f"{case} forward"] = node("TestForward", model=last["ours"], **files)
        if case in COMPARED:
            graph[f"{case} compare"] = node("TestCompare", one=last["ours"], other=last["core"])
    return graph


def distance(one: Tensor, other: Tensor) -> float:
    """Of `other`'s length."""
    return float((one.reshape(other.shape) - other).norm() / other.norm())


def test_comfyui_draws_with_a_trained_lora_what_diffusers_draws(lesson: Lesson, fresh_server: Any) -> None:
    """Every tensor used, core's weights to the bit, diffusers' output; at 1, 0.5, -1 and with two LoRAs."""
    version = fresh_server.get("/system_stats")["system"]["comfyui_version"]
    if tuple(map(int, version.split("."))) < SINCE.get(lesson.family, ()):
        pytest.skip(f"ComfyUI {version} has no {lesson.family}")
    models = fresh_server.folder / "models"
    (models / "diffusion_models").mkdir()
    (models / "diffusion_models" / "network.safetensors").symlink_to(lesson.folder / "network.safetensors")
    for name, file in zip(LORAS, lesson.files(comfyui=True), strict=True):
        shutil.copyfile(file, models / "loras" / f"{name}.safetensors")
    shown = fresh_server.outputs(workflow(lesson, fresh_server.folder))

    answers = load_file(lesson.folder / "answers.safetensors")
    for case, strengths in CASES.items():
        assert shown[f"{case} forward"]["dtypes"] == ["torch.float32"]
        for number, name in enumerate([*LORAS][: len(strengths)]):
            tensors = len(load_file(models / "loras" / f"{name}.safetensors"))
            assert f"{tensors} of {tensors} tensors used" in shown[f"{case} ours {number}"]["text"][0]
        if case in COMPARED:
            (weights,) = shown[f"{case} compare"]["found"]
            assert (weights["only_one"], weights["difference"]) == ([], 0.0)
            assert weights["smallest_change"] > 0
        output = load_file(fresh_server.folder / f"{case}.safetensors")["output"]
        error, change = distance(output, answers[case]), distance(answers[case], answers["base"])
        print(f"ComfyUI {version}, {lesson.family}, {case}: off by {error:.1e}; the LoRA changes {change:.1e}")
        assert error <= CLOSE
        assert change >= 100 * CLOSE or not strengths
