"""A made-up run folder below a test's own place, and the events to add to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_run
import pytest

from toolkit.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def told() -> SimpleNamespace:
    """Events as training writes them, and how they get into a run."""
    return SimpleNamespace(
        check=made_run.check, update=made_run.update, verdict=made_run.verdict, append=made_run.append
    )


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make_run(*arguments: Any, **facts: Any) -> RunFolder:
        return made_run.make(tmp_path / "runs", *arguments, **facts)

    return make_run
