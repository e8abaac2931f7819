"""Preflight says before a run what would stop it later."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from toolkit import plan, recipe
from toolkit.errors import UsageError

CONTENT = {"words": {"positive": "a", "negative": "b"}}


@pytest.mark.parametrize("role", ["train", "validation", "test"])
def test_a_missing_list_is_found_before_anything_starts(role: str, tmp_path: Path) -> None:
    content = recipe.parse(CONTENT, {f"prompts.{role}": str(tmp_path / "none.txt")})
    with pytest.raises(UsageError, match=r"none\.txt` does not exist"):
        plan.preflight(content)


def test_a_disk_that_is_nearly_full_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = recipe.parse(CONTENT)
    place = tmp_path / "not" / "there" / "yet"
    plan.preflight(content, place)
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5 * 2**20))
    with pytest.raises(UsageError) as caught:
        plan.preflight(content, place)
    assert "Only 5 MB are free" in str(caught.value)
    assert "--output" in caught.value.action
    assert not place.exists()
