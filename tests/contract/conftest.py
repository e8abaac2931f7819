"""Every base that the contract is held against: all of the table, and two that share nothing with the demo."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from tiny import folders, unet

from toolkit.recipe import Lora, Section
from training import tables
from training.adapters import Policy
from training.bases import BASES

SERVED_DEMO = [sys.executable, "-m", "training", "serve-scorer", "demo", "--port", "{port}"]
SETTINGS = {"remote": {"command": SERVED_DEMO}}  # of rewards that their defaults do not suffice
FOREIGN = {"tiny_unet": unet.TinyUnet, "tiny_unet_v": unet.TinyUnetV}


def base_class(name: str) -> Any:
    return FOREIGN[name] if name in FOREIGN else tables.load_class(BASES, name)


def build_base(name: str, *, recompute: bool = False) -> Any:
    if name not in FOREIGN and name != "demo":
        return tables.base(folders.section(name, gradient_checkpointing=recompute))
    base = base_class(name)()
    if recompute:
        base.network.enable_gradient_checkpointing()
        base.vae.enable_gradient_checkpointing()
    return base


@cache
def policy_of(name: str) -> tuple[Policy, dict]:
    policy = Policy(build_base(name), Lora(rank=2), seed=1)
    return policy, policy.adapter_state()


@pytest.fixture(params=[*BASES, *FOREIGN])
def base_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def policy(base_name: str) -> Policy:
    """The base with a fresh LoRA; shared between tests, so it is put back as it was first."""
    policy, fresh = policy_of(base_name)
    policy.load_adapter(fresh)
    for parameter in policy.network.parameters():
        parameter.grad = None
    return policy


@pytest.fixture
def thrifty_policy(base_name: str) -> Policy:
    """The same, but its activations are recomputed in the backward pass."""
    return Policy(build_base(base_name, recompute=True), Lora(rank=2), seed=1)


@pytest.fixture(scope="session")
def reward_of(reward_section: Callable[..., Section]) -> Callable[[str], Any]:
    return cache(lambda name: tables.reward(reward_section(name, **SETTINGS.get(name, {}))))


@pytest.fixture(scope="session")
def base_gives() -> Callable[[str], frozenset[str]]:
    return lambda name: base_class(name).gives
