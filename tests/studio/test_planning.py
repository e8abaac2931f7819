"""Plans and folders as the page shows them: at once what is known, never a wait, and a failure is a sentence."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from toolkit import plan
from toolkit.errors import PalateError
from toolkit.pairs import Findings
from toolkit.studio import plan_markup, recipe_form
from toolkit.studio.planning import Planned, Planning

HOSTILE = "<script>alert(1)</script> {{value}} ${value}"
GB = 10**9


def planned(*, fits: bool | None, fit: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "phases": {"load": 3 * GB, "reward": 9 * GB}, "needed_bytes": 10 * GB, "processes": 1,
        "device": {"name": HOSTILE, "memory_bytes": None if fits is None else 8 * GB, "fits": fits},
        "time": {"seconds": 9000.0, "seconds_per_update": 90.0, "basis": HOSTILE},
        "disk": {"run": 2 * GB, "weights": 30 * GB, "free": 50 * GB}, "fit": fit,
    }  # fmt: skip


FIT = {"changes": ["nf4 weights"], "settings": {"base.quantisation": "nf4"}, "needed_bytes": 7 * GB}


def until_settled(asked: Callable[[], Planned]) -> Planned:
    deadline = time.monotonic() + 30
    while (found := asked()).is_coming:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the backend was asked; every card is too small until settings are looked for."""
    calls: list[dict[str, Any]] = []

    def ask(recipe: Path, overrides: object, **how: Any) -> dict[str, Any]:
        calls.append({"recipe": recipe.read_text(), **how})
        return planned(fits=None if how["memory"] is None else False, fit=FIT if how["fit"] else None)

    monkeypatch.setattr(plan, "ask", ask)
    return calls


def test_a_plan_comes_by_itself_and_other_words_or_names_ask_no_second_one(
    asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    planning, content = Planning(tmp_path), recipe_form.first()
    assert planning.needs(content, "").is_coming
    found = until_settled(lambda: planning.needs(content, ""))
    assert "10.0 GB" in found.drawn
    assert "about 2 h 30 min" in found.drawn
    assert found.settings == {}
    renamed = content.replace("name: 3d-render", "name: another").replace("positive: 3d render", "positive: moody")
    assert not planning.needs(renamed, "").is_coming
    assert len(asked) == 1


def test_for_a_card_that_is_too_small_the_settings_come_after_the_plan(
    asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    planning = Planning(tmp_path)
    found = until_settled(lambda: planning.needs(recipe_form.first(), "8,0 GB"))
    assert found.settings == {"base.quantisation": "nf4"}
    assert "base.quantisation" in found.drawn
    assert [(call["memory"], call["fit"]) for call in asked] == [(8.0, False), (8.0, True)]


@pytest.mark.parametrize("card", ["0", "-3", "many", "nan", "1e9"])
def test_a_size_that_no_card_has_is_said_and_nothing_is_asked(
    card: str, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    found = Planning(tmp_path).needs(recipe_form.first(), card)
    assert "1 GB or more" in found.drawn
    assert (found.is_coming, asked) == (False, [])


def test_a_failed_plan_and_a_wrong_recipe_are_sentences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object, **__: object) -> dict[str, Any]:
        raise PalateError(HOSTILE)

    monkeypatch.setattr(plan, "ask", fails)
    planning = Planning(tmp_path)
    found = until_settled(lambda: planning.needs(recipe_form.first(), ""))
    assert "alert(1)" in found.drawn
    assert "<script" not in found.drawn
    assert "as soon as the recipe is right" in planning.needs("method: nothing", "").drawn


@pytest.mark.parametrize(("fits", "fit"), [(True, None), (None, None), (False, None), (False, FIT)])
def test_what_a_machine_is_called_stays_text(fits: bool | None, fit: dict[str, Any] | None) -> None:
    drawn = plan_markup.plan(planned(fits=fits, fit=fit)) + plan_markup.plan(planned(fits=False), is_searching=True)
    assert "<script" not in drawn
    assert "{{" not in drawn
    assert 'style="' not in drawn


def test_a_folder_is_looked_at_aside_and_again_when_files_come(tmp_path: Path) -> None:
    planning, folder = Planning(tmp_path), tmp_path / "photos"
    folder.mkdir()

    def add(name: str) -> None:
        Image.new("RGB", (8, 8), (len(name), 9, 9)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text("a dog")

    def holds() -> str:
        return until_settled(lambda: Planned(*_turned(planning.holds("photos", str(folder))))).drawn

    assert "on the computer that runs the Studio" in planning.holds("photos", " ")[0]
    assert planning.holds("words", "anything") == ("", False)
    assert "no usable photos" in holds()
    add("a")
    assert "<b>1</b> photos kept, <b>0</b> dropped" in holds()
    (folder / f"{'x' * 3}.png").write_bytes(b"half")
    assert "<b>1</b> photos kept, <b>1</b> dropped" in holds()


def _turned(found: tuple[str, bool]) -> tuple[str, dict[str, Any], bool]:
    return found[0], {}, found[1]


def test_names_of_files_stay_text() -> None:
    drawn = plan_markup.holds(Findings((), {"broken picture": (HOSTILE, "b", "c", "d")}), "pairs")
    assert "<script" not in drawn
    assert "{{" not in drawn
    assert "4 <span" in drawn
