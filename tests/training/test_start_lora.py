"""A run may start from a LoRA: the first picture is base + that LoRA, and so is the reference, merged or frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import folders
from torch import nn
from torch.testing import assert_close

from toolkit.errors import UsageError
from toolkit.loras import writing
from toolkit.loras.families import FAMILIES
from toolkit.loras.updates import Update
from toolkit.recipe import Lora
from training import lora_loading, tables
from training.adapters import Policy

LAYERS = ("attn1.to_q", "ff.net.2")


def network() -> Any:
    return tables.base(folders.section("sd15"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    layers = {name: m.weight.shape for name, m in network().network.named_modules() if name.endswith(LAYERS)}
    updates = {
        name: Update(torch.randn(3, shape[1]) / 4, torch.randn(shape[0], 3) / 4) for name, shape in layers.items()
    }
    family = FAMILIES["sd15"]
    writing.write(tmp_path / "start.safetensors", updates, family, family.diffusers, dtype="float32", metadata={})
    return tmp_path / "start.safetensors"


def started(file: Path | None, *, merge: bool = True, strength: float = 1.0) -> Policy:
    base = network()
    if file is not None:
        lora_loading.start_from(base.network, file, family="sd15", strength=strength, merge=merge)
    return Policy(base, Lora(rank=2), seed=1)


def answer(policy: Policy) -> torch.Tensor:
    x_t = torch.randn(2, *policy.latent_shape, generator=torch.Generator().manual_seed(0))
    level = policy.schedule.level(torch.tensor([0.3, 0.8]))
    return policy.predict(x_t, level, policy.base.encode(["a cat", "a dog"])).noise


def shake(policy: Policy) -> None:
    for parameter in policy.trainable().values():
        parameter.data += 0.1


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_merged_and_frozen_begin_alike_and_not_at_the_base(file: Path, strength: float) -> None:
    merged, frozen = (answer(started(file, merge=merge, strength=strength)) for merge in (True, False))
    assert_close(merged, frozen, rtol=1e-4, atol=1e-5)
    assert (merged - answer(started(None))).abs().max() > 1e-3


@pytest.mark.parametrize("merge", [True, False])
def test_the_reference_is_where_the_run_began(file: Path, merge: bool) -> None:
    policy = started(file, merge=merge)
    before = answer(policy)
    shake(policy)
    assert not torch.allclose(answer(policy), before, atol=1e-4)
    with policy.as_reference():
        assert_close(answer(policy), before)
        with policy.folded():
            assert_close(answer(policy), before, rtol=1e-4, atol=1e-5)
        assert_close(answer(policy), before)


@pytest.mark.parametrize("merge", [True, False])
def test_folding_plays_the_same(file: Path, merge: bool) -> None:
    policy = started(file, merge=merge)
    shake(policy)
    plain = answer(policy)
    with policy.folded():
        assert_close(answer(policy), plain, rtol=1e-4, atol=1e-5)
    assert torch.equal(answer(policy), plain)


@pytest.mark.parametrize("merge", [True, False])
def test_only_the_new_lora_learns_and_is_saved(file: Path, merge: bool) -> None:
    policy, fresh = started(file, merge=merge), started(None)
    assert policy.adapter_state().keys() == fresh.adapter_state().keys()
    answer(policy).square().mean().backward()
    with policy.as_reference():
        pass
    learning = {name for name, p in policy.network.named_parameters() if p.requires_grad}
    assert learning == policy.trainable().keys()
    assert not any("start" in name for name in learning)
    assert all(p.grad is None for name, p in policy.network.named_parameters() if ".start." in name)


def test_a_lora_of_another_base_is_refused(file: Path) -> None:
    base = tables.base(folders.section("sdxl"))
    with pytest.raises(UsageError, match="does not fit this network"):
        lora_loading.start_from(base.network, file, family="sd15", strength=1.0, merge=True)


def test_quantised_weights_ask_for_a_frozen_start(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    base = tables.base(folders.section("flux", quantisation="int8_weight_only"))
    name, layer = next(
        (n, m) for n, m in base.network.named_modules() if isinstance(m, nn.Linear) and n.endswith("to_q")
    )
    update = Update(torch.randn(2, layer.in_features), torch.randn(layer.out_features, 2))
    family = FAMILIES["flux"]
    writing.write(tmp_path / "x.safetensors", {name: update}, family, family.diffusers, dtype="float32", metadata={})
    with pytest.raises(UsageError, match=r"quantised weights\. Set `lora\.start_as: frozen`"):
        lora_loading.start_from(base.network, tmp_path / "x.safetensors", family="flux", strength=1.0, merge=True)
    lora_loading.start_from(base.network, tmp_path / "x.safetensors", family="flux", strength=1.0, merge=False)
