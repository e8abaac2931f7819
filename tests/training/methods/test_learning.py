"""Every group method moves a mixture of two Gaussians to the side that a reward likes, on a real LoRA."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from toolkit.recipe import Lora, Section
from training import tables
from training.adapters import Policy
from training.contracts import OptimizerStep, PromptBatch, Remembers
from training.lockstep import alone
from training.methods import METHODS
from training.methods._groups import GroupMethod
from training.randomness import Rng
from training.rollout import sample
from training.schedules import FlowSchedule

CENTRES = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
SPREAD = 0.3
PROMPTS = 4


class Mixture(nn.Module):
    """The exact velocity of ½ N(-1, 0.3²) + ½ N(+1, 0.3²) along x, plus layers that are silent until trained."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.middle, self.outer = nn.Linear(3, 32), nn.Linear(32, 32), nn.Linear(32, 2)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        s = sigma[:, None]
        variance = (1 - s) ** 2 * SPREAD**2 + s**2
        apart = x[:, None] - (1 - s)[:, None] * CENTRES
        share = (-apart.square().sum(dim=2) / (2 * variance)).softmax(dim=1)
        x0 = (share[:, :, None] * (CENTRES + ((1 - s) * SPREAD**2 / variance)[:, None] * apart)).sum(dim=1)
        exact = (x - x0) / s.clamp(min=1e-3)
        hidden = torch.tanh(self.middle(torch.tanh(self.inner(torch.cat([x, s], dim=1)))))
        return exact + self.outer(hidden)


@dataclass
class MixtureBase:
    """What a policy needs of a base."""

    network: Mixture = field(default_factory=Mixture)
    schedule: FlowSchedule = field(default_factory=FlowSchedule)
    parametrisation = "velocity"
    guidance = "none"
    latent_shape = (2,)
    lora_layers = {"all": ["inner", "middle", "outer"]}  # noqa: RUF012

    def to(self, device: torch.device) -> MixtureBase:
        return self

    def forward(self, x_t, timestep, conditioning, guidance_scale) -> Tensor:
        return self.network(x_t, timestep)

    def decode(self, latents: Tensor) -> Tensor:
        return latents


RIGHT = SimpleNamespace(  # no gradient anywhere
    target=lambda texts: torch.zeros(len(texts), 1),
    score=lambda images, target: (images[:, :1] > 0).float(),
)


def fresh_policy() -> Policy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = MixtureBase()
    return Policy(base, Lora(rank=8), seed=1)


def painted(policy: Policy) -> Tensor:
    """Samples from fixed noise, [512, 2]."""
    return sample(policy, Rng(99, 0, tuple(range(512))).normal("noise", (2,)), {}, steps=20)


def on_the_right(samples: Tensor) -> float:
    return (samples[:, 0] > 0).float().mean().item()


def train(name: str, updates: int, **settings) -> list[Tensor]:
    """Samples before and after."""
    policy = fresh_policy()
    toy = {"preference": "plain", "group_size": 16, "guidance_scale": 1.0, "samples_per_call": 64}
    method = tables.method(Section(name=name, settings=toy | settings))
    optimizer = torch.optim.AdamW(policy.trainable().values(), lr=3e-3)
    batch = PromptBatch(["a"] * PROMPTS, {"text": torch.zeros(PROMPTS, 1)}, [])
    before = painted(policy)
    for update in range(updates):
        for event in alone(method.losses(policy, RIGHT, batch, Rng(5, update, tuple(range(PROMPTS))))):
            if isinstance(event, OptimizerStep):
                step(optimizer)
            else:
                event.loss.backward()
        step(optimizer)
        if isinstance(method, Remembers):
            method.after_update(policy, update)
    return [before, painted(policy)]


def step(optimizer: torch.optim.Optimizer) -> None:
    nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


WIDE = {"clip_range": 0.2, "rollout_steps": 10}  # two elements, not 65536
FAST = {"kl_weight": 0.0, "window": "random", "dynamics": "cps", "noise_level": 0.8}
TOYS: dict[str, tuple[str, dict]] = {
    "flow_grpo": ("flow_grpo", WIDE | {"kl_weight": 0.0}),
    "flow_grpo with guard": ("flow_grpo", WIDE | {"kl_weight": 0.0, "ratio": "guard"}),
    "flow_grpo fast": (
        "flow_grpo",
        WIDE | {"kl_weight": 0.0, "window": "random", "dynamics": "cps", "noise_level": 0.8},
    ),
    "dance_grpo": ("dance_grpo", WIDE | {"noise_level": 0.6}),
    "mix_grpo": ("mix_grpo", WIDE | {"window_every": 5}),
    "ddpo": ("ddpo", WIDE),
    "nft": ("nft", {}),
    "awm": ("awm", {"kl_weight": 0.0}),
}


def test_every_group_method_has_its_toy() -> None:
    group_methods = {name for name in METHODS if issubclass(tables.load_class(METHODS, name), GroupMethod)}
    assert {name for name, _ in TOYS.values()} == group_methods


@pytest.mark.parametrize("toy", TOYS)
def test_the_mass_moves_to_where_the_reward_is(toy: str) -> None:
    name, settings = TOYS[toy]
    before, after = train(name, 60, **settings)
    assert on_the_right(before) == pytest.approx(0.5, abs=0.06)
    assert on_the_right(after) > 0.9


@pytest.mark.parametrize(("name", "weight"), [("flow_grpo", 10.0), ("nft", 3.0), ("awm", 3.0)])
def test_a_stronger_pull_to_the_base_moves_less(name: str, weight: float) -> None:
    toy = next(settings for known, settings in TOYS.values() if known == name)
    free, middle, held = (
        (after - before).norm(dim=1).mean().item()
        for before, after in (train(name, 30, **toy | {"kl_weight": share * weight}) for share in (0, 0.2, 1))
    )
    assert 0 < held < 0.8 * middle < 0.8 * free
