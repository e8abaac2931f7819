"""The doctor's sentences, and what stops training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolkit import doctor

GPU = {"name": "Card", "memory": 24 * 10**9, "bf16": True, "works": True}


def torch_said(*gpus: dict[str, Any], cuda: str | None = "13.0") -> list[doctor.Finding]:
    return list(doctor.torch_build({"version": "2.14", "cuda": cuda, "available": bool(gpus), "gpus": list(gpus)}))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch):
    def say(version: str) -> None:
        monkeypatch.setattr(doctor, "nvidia_driver", lambda: version)

    say("")
    return say


def test_an_old_python_stops() -> None:
    assert [found.state for found in doctor.python((3, 10, 1))] == ["stop"]
    assert [found.state for found in doctor.python((3, 12, 0))] == ["ok"]


@pytest.mark.usefixtures("driver")
def test_no_gpu_is_no_obstacle_for_the_demo() -> None:
    found = torch_said()[-1]
    assert (found.state, "The demo trains on the CPU" in found.sentence) == ("note", True)


def test_a_gpu_that_torch_does_not_see_is(driver: Any) -> None:
    driver("570.1")
    assert "was built for CPUs only" in torch_said(cuda=None)[-1].sentence
    assert "update the driver" in torch_said()[-1].sentence
    assert [torch_said(cuda=cuda)[-1].state for cuda in (None, "13.0")] == ["stop", "stop"]


@pytest.mark.usefixtures("driver")
def test_gpus_are_named_with_their_memory() -> None:
    assert torch_said(GPU)[-1] == doctor.Finding("ok", "gpu", "Card, 24.0 GB.")
    broken = torch_said(GPU | {"works": False, "error": "no kernel image"})[-1]
    assert broken.state == "stop"
    assert "does not support this GPU (no kernel image)" in broken.sentence
    assert "no bfloat16" in torch_said(GPU | {"bf16": False})[-1].sentence


def test_a_torch_that_does_not_start_stops() -> None:
    (found,) = doctor.torch_build({"error": "libcudart.so"})
    assert found.state == "stop"
    assert "libcudart.so" in found.sentence


def test_a_full_disk_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert next(iter(doctor.disk(tmp_path / "not" / "yet"))).state == "ok"
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=10))
    assert next(iter(doctor.disk(tmp_path))).state == "stop"


def test_a_token_is_spoken_of_but_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    (found,) = doctor.token()
    assert found.sentence == "A Hub token is there; its role could not be asked for."
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    (found,) = doctor.token()
    assert "No Hub token" in found.sentence


def test_licences_are_not_asked_for_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert [found.about for found in doctor.licences()] == ["licences"]
