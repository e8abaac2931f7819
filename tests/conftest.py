"""For all tests: hypothesis tries the same examples on every machine and is never hurried; scorers in toy size."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "palate", deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("palate")


@pytest.fixture(scope="session")
def tiny_rewards() -> ModuleType:
    """The module tests/tiny_rewards.py."""
    spec = importlib.util.spec_from_file_location("tiny_rewards", Path(__file__).with_name("tiny_rewards.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_rewards"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reward_section(tiny_rewards: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """name, settings → a section that builds with tiny weights."""
    folder = tmp_path_factory.mktemp("rewards")
    return lambda name, **settings: tiny_rewards.section(name, folder, **settings)
