"""Scorers in toy size, one of each and made to measure."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from training import tables


@pytest.fixture(scope="session")
def tiny(reward_section: Callable[..., Any]) -> Callable[..., Any]:
    """name, settings → the built scorer; kept, so its text cache may be warm."""
    return cache(lambda name, **settings: tables.reward(reward_section(name, **settings)))


@pytest.fixture
def photos() -> Tensor:
    """Three different pictures [3, 3, 40, 40]."""
    return torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(11))
