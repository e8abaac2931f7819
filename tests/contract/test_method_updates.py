"""Every method through whole updates: settings there and back, the LoRA alone moves, a resumed run is the same run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from toolkit.recipe import Section
from toolkit.words import WordPair
from training import checkpoint, tables
from training.adapters import Policy
from training.contracts import PromptBatch
from training.methods import METHODS
from training.randomness import Rng

QUICK = {"rollout_steps": 3, "first_step": 1, "last_step": 2, "sigma_low": 0.5, "sigma_high": 0.85, "margin": None}
WORDS = [WordPair(positive="3d render", negative="line art")] * 2
BASES = ["demo", "tiny_unet", "tiny_unet_v"]  # flow, noise and v prediction
DIRECT = [name for name in METHODS if "differentiable" in tables.load_class(METHODS, name).needs]


def quick(name: str):
    known = tables.load_class(METHODS, name).model_fields
    return tables.method(Section(name=name, settings={key: QUICK[key] for key in QUICK if key in known}))


def train(method, policy: Policy, reward, optimizer: torch.optim.Optimizer, updates: range) -> None:
    prompts = ["a cat", "a red car"]
    for update in updates:
        batch = PromptBatch(prompts, policy.base.encode(prompts), WORDS)
        for report in method.losses(policy, reward, batch, Rng(7, update, (0, 1))):
            report.loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def adam(policy: Policy) -> torch.optim.Optimizer:
    return torch.optim.AdamW(policy.trainable().values(), lr=1e-3)


@pytest.mark.parametrize("base_name", BASES, indirect=True)
@pytest.mark.parametrize("name", DIRECT)
def test_two_updates_move_the_lora_alone_and_a_resume_between_them_changes_no_bit(
    name: str, policy: Policy, reward_of, tmp_path: Path
) -> None:
    method, reward, fresh = quick(name), reward_of("demo"), policy.adapter_state()
    frozen = {key: value.clone() for key, value in policy.network.state_dict().items() if "lora_" not in key}
    optimizer = adam(policy)
    train(method, policy, reward, optimizer, range(2))
    straight = policy.adapter_state()
    assert any(not torch.equal(straight[key], fresh[key]) for key in straight)
    assert all(torch.equal(policy.network.state_dict()[key], value) for key, value in frozen.items())

    saved = checkpoint.Checkpoints(tmp_path, "digest", 2)
    policy.load_adapter(fresh)
    optimizer = adam(policy)
    train(method, policy, reward, optimizer, range(1))
    saved.save(1, policy.adapter_state(), checkpoint.optimizer_state(optimizer, policy.trainable()), 0)
    policy.load_adapter(fresh)
    optimizer = adam(policy)
    loaded = saved.load()
    assert loaded is not None
    policy.load_adapter(loaded.adapter)
    checkpoint.load_optimizer_state(optimizer, policy.trainable(), loaded.optimizer)
    train(quick(name), policy, reward, optimizer, range(1, 2))
    assert all(torch.equal(policy.adapter_state()[key], value) for key, value in straight.items())


@pytest.mark.parametrize("name", METHODS)
def test_settings_survive_the_way_through_a_recipe(name: str) -> None:
    method = tables.method(Section(name=name))
    again = tables.method(Section(name=name, settings=method.model_dump(mode="json")))  # type: ignore[attr-defined]
    assert again == method
    with pytest.raises(Exception, match="frozen"):
        method.rollout_steps = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("base_name", ["tiny_unet"], indirect=True)
@pytest.mark.parametrize("name", DIRECT)
def test_two_micro_batches_give_the_gradient_of_one_batch(name: str, policy: Policy, reward_of) -> None:
    """Whatever is drawn belongs to a sample, and an accumulation's share on the losses is one on the gradient."""
    method, reward, prompts = quick(name), reward_of("demo_second"), ["a cat", "a red car"]
    with torch.no_grad():
        for parameter in policy.trainable().values():  # a LoRA that has left its start
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))

    def gradient(*groups: tuple[int, ...]) -> torch.Tensor:
        for indices in groups:
            texts = [prompts[index] for index in indices]
            batch = PromptBatch(texts, policy.base.encode(texts), WORDS[: len(texts)])
            for report in method.losses(policy, reward, batch, Rng(7, 3, indices)):
                (report.loss / len(groups)).backward()
        found = [parameter.grad.clone() for parameter in policy.trainable().values() if parameter.grad is not None]
        for parameter in policy.trainable().values():
            parameter.grad = None
        return torch.cat([part.flatten() for part in found])

    whole, halves = gradient((0, 1)), gradient((0,), (1,))
    assert ((whole - halves).norm() / whole.norm()).item() <= 1e-4
