"""For all tests: hypothesis tries the same examples on every machine and is never hurried; scorers in toy size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tiny import rewards

settings.register_profile(
    "palate", deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("palate")


@pytest.fixture(scope="session")
def reward_section(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """name, settings → a section that builds with tiny weights."""
    folder = tmp_path_factory.mktemp("rewards")
    return lambda name, **settings: rewards.section(name, folder, **settings)
