"""Gated, missing and unreachable weights are spoken of before a run starts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import errors

from toolkit import hub_access, recipe
from toolkit.errors import UsageError

FLUX = {"base": "flux", "words": {"positive": "a", "negative": "b"}}
ID = "black-forest-labs/FLUX.1-dev"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    """A Hub that answers as it is told; nothing is cached."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)

    def answer(error: type[Exception] | None) -> None:
        def auth_check(repository: str) -> None:
            if error is not None:
                raise _without_init(error)

        monkeypatch.setattr("huggingface_hub.auth_check", auth_check)

    answer(None)
    return answer


def _without_init(error: type[Exception]) -> Exception:
    made: Any = error.__new__(error)
    made.response = SimpleNamespace(status_code=403)
    return made


def test_sources_are_the_hub_ids_of_base_and_scorers(tmp_path: Path) -> None:
    assert list(hub_access.sources(recipe.parse(FLUX))) == [ID]
    assert list(hub_access.sources(recipe.parse(FLUX, {"base.weights": str(tmp_path)}))) == []
    assert list(hub_access.sources(recipe.parse({"words": FLUX["words"]}))) == []


def test_a_gated_model_is_three_steps_away(hub: Any) -> None:
    hub(errors.GatedRepoError)
    with pytest.raises(UsageError, match="licence accepted once") as caught:
        hub_access.check(ID)
    assert caught.value.action == (
        f"1) Open https://huggingface.co/{ID} 2) accept 3) `hf auth login` and paste the token."
    )


def test_a_misspelt_model_is_named(hub: Any) -> None:
    hub(errors.RepositoryNotFoundError)
    with pytest.raises(UsageError, match="There is no `a/b` on the Hub, or your token cannot see it"):
        hub_access.check("a/b")


@pytest.mark.parametrize("error", [None, errors.HfHubHTTPError, ConnectionError])
def test_an_open_or_unreachable_hub_is_left_to_the_download(hub: Any, error: type[Exception] | None) -> None:
    hub(error)
    hub_access.check(ID)


@pytest.mark.usefixtures("hub")
def test_offline_only_what_is_cached_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE=1 forbids"):
        hub_access.check(ID)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: "/a/file")
    hub_access.check(ID)
