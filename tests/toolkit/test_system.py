"""What the System page reads: facts, folders, the environment without secrets, and a check-up that blocks nobody."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from toolkit import doctor, system
from toolkit.doctor import Finding
from toolkit.system import CheckUp, CheckUps

PLANTED = "hf_PlantedPlantedPlanted42"


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Secrets in every place they may come from."""
    monkeypatch.setenv("HF_TOKEN", PLANTED)
    monkeypatch.setenv("HF_ENDPOINT", "https://user:open-sesame@mirror.example")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("PALATE_NOTE", "0123456789abcdef is my key")
    monkeypatch.setenv("MY_OWN_PASSWORD", "swordfish99")
    return [PLANTED, "open-sesame", "0123456789abcdef", "swordfish99"]


def test_the_environment_is_listed_without_secrets(planted: list[str]) -> None:
    shown = {variable.name: variable.value for variable in system.environment()}
    assert {"HF_TOKEN", "HF_ENDPOINT", "WANDB_API_KEY", "PALATE_NOTE"} <= set(shown)
    assert "MY_OWN_PASSWORD" not in shown
    assert "mirror.example" in shown["HF_ENDPOINT"]
    assert not [secret for secret in planted if secret in str(shown)]


def test_diagnostics_hold_no_secret_and_no_place_of_their_owner(planted: list[str], tmp_path: Path) -> None:
    told = Finding("note", "token", f"The Hub knows you as somebody; {Path.home()} and {tmp_path} and {PLANTED}")
    content = system.diagnostics(tmp_path, CheckUp((told,), (), {"Runs": 10**9}))
    assert not [secret for secret in [*planted, "somebody", str(tmp_path), str(Path.home())] if secret in content]
    assert "torch" in content
    assert "1.0 GB used" in content


def test_folders_are_counted_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a").write_bytes(b"x" * 1000)
    (tmp_path / "b").write_bytes(b"x" * 234)
    outside = tmp_path.parent / "outside"
    outside.mkdir()
    (outside / "large").write_bytes(b"x" * 50_000)
    (tmp_path / "link").symlink_to(outside)
    assert system.folder_bytes(tmp_path) == pytest.approx(1234, abs=200)
    assert system.folder_bytes(tmp_path / "gone") == 0


def test_every_place_has_room_and_a_name(tmp_path: Path) -> None:
    found = system.places(tmp_path, {"Runs": 7})
    assert [place.name for place in found] == ["Runs", "Model cache", "Palate's cache"]
    assert all(place.free > 0 for place in found)
    assert [place.used for place in found] == [7, None, None]


def test_a_check_up_blocks_nobody_and_is_made_once_at_a_time(tmp_path: Path) -> None:
    may_end, made = threading.Event(), []

    def slow(root: Path) -> CheckUp:
        made.append(root)
        may_end.wait(20)
        return CheckUp((), (), {})

    check_ups = CheckUps(tmp_path, slow)
    for _ in range(3):
        assert check_ups.glance() is None
    assert check_ups.is_running
    may_end.set()
    deadline = time.monotonic() + 20
    while check_ups.is_running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert check_ups.glance() == CheckUp((), (), {})
    assert made == [tmp_path]


def test_a_check_up_that_breaks_off_says_so(tmp_path: Path) -> None:
    def broken(root: Path) -> CheckUp:
        raise OSError(f"no such device {PLANTED}")

    check_ups = CheckUps(tmp_path, broken)
    deadline = time.monotonic() + 20
    while (found := check_ups.glance()) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found is not None
    assert "no such device" in found.findings[0].sentence
    assert PLANTED not in found.findings[0].sentence


def test_torch_that_never_answers_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.01)
    assert "did not answer" in doctor.probe()["error"]
