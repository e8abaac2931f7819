"""Every method on every base that fits, with every reward it can use: it runs, and trains the LoRA alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from toolkit.recipe import Section
from toolkit.words import WordPair
from training import checkpoint, latent_reward, tables
from training.adapters import Policy
from training.contracts import LikeBatch, OptimizerStep, PairBatch, PhotoBatch, PromptBatch, Remembers, Report
from training.latent_reward import LatentReward
from training.lockstep import alone
from training.methods import METHODS
from training.randomness import Rng
from training.rewards import REWARDS

QUICK = {  # whichever of these a method has; the levels are ones that a noise-predicting family has too
    "rollout_steps": 3, "first_step": 1, "last_step": 2, "guidance_scale": 1.0, "shift": 1.0,
    "margin": None, "sigma_low": 0.5, "sigma_high": 0.85, "known_share": 0.7, "inversion_steps": 3,
    "group_size": 4, "minibatches": 2, "window_size": 1, "least_history": 4, "levels": 2, "mask_below": 0.0,
}  # fmt: skip
WORDS = [WordPair(positive="3d render", negative="line art"), WordPair(positive="sharp", negative="blurry")]


def quick_method(name: str, policy: Policy, **changes):
    known = tables.load_class(METHODS, name).model_fields
    given = QUICK | ({"levels": 1000} if name == "srpo" else {}) | changes  # there, the length of a grid
    settings = {key: value for key, value in given.items() if key in known}
    if "weights" in known:
        settings["weights"] = str(latent_reward_of(policy))
    return tables.method(Section(name=name, settings=settings))


@cache
def latent_reward_of(policy: Policy) -> Path:
    """An untrained reward on this base's latents that is trusted all the same."""
    reward = LatentReward(policy.latent_shape[0], width=8)
    reward.accuracy.fill_(0.9)
    file = Path(tempfile.mkdtemp()) / "latent.safetensors"
    reward.save(file, {"base": policy.base_name})
    return file


DATA = {"pairs", "photos", "likes", "scores"}  # what a recipe's data give


def batch_for(policy: Policy, method, update: int = 1) -> PromptBatch:
    """Of the kind that the method needs; latents as an encoder would give them."""
    texts, rng = ["a cat", "a red car"], Rng(5, update, (0, 1))
    prompts: dict = {"prompts": texts, "conditioning": policy.base.encode(texts), "words": WORDS}
    one, other = (0.7 * rng.normal(name, policy.latent_shape) for name in ("one", "other"))
    ones = torch.ones(2)
    if "pairs" in method.needs:
        scores = torch.tensor([[0.9, 0.2], [0.6, 0.5]])
        return PairBatch(**prompts, chosen=one, rejected=other, weights=ones, margins=0 * ones, scores=scores)
    if "likes" in method.needs:
        return LikeBatch(**prompts, latents=one, weights=ones, liked=torch.tensor([True, False]))
    return PhotoBatch(**prompts, latents=one, weights=ones) if "photos" in method.needs else PromptBatch(**prompts)


def reports_of(method, policy: Policy, reward, update: int = 1) -> Iterator[Report]:
    """Without the optimizer steps between."""
    events = alone(method.losses(policy, reward, batch_for(policy, method, update), Rng(7, update, (0, 1))))
    return (event for event in events if isinstance(event, Report))


def gradients(method, policy: Policy, reward) -> dict[str, torch.Tensor]:
    for parameter in policy.network.parameters():
        parameter.grad = None
    for report in reports_of(method, policy, reward):
        report.loss.backward()
    return {name: parameter.grad.clone() for name, parameter in policy.trainable().items()}


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The relative distance of two gradients, all parameters together."""
    flat = [torch.cat([gradient.flatten() for gradient in side.values()]) for side in (one, other)]
    return ((flat[0] - flat[1]).norm() / flat[1].norm()).item()


@pytest.fixture(params=METHODS)
def method_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def fitting(method_name: str, base_name: str, reward_of, base_gives) -> Iterator:
    """The demo's reward where it satisfies the method together with this base, else the first that does."""
    needs = tables.load_class(METHODS, method_name).needs - base_gives(base_name) - {"words"} - DATA
    fits = [
        name
        for name in sorted(REWARDS, key=lambda name: name != "demo")
        if needs <= tables.load_class(REWARDS, name).gives
    ]
    if not fits:
        pytest.skip(f"{method_name} needs {sorted(needs)}")
    return reward_of(fits[0])


def test_a_method_gives_finite_losses_and_numbers_to_log(method_name: str, policy: Policy, fitting) -> None:
    method, reports = quick_method(method_name, policy), 0
    for report in reports_of(method, policy, fitting):
        reports += 1
        report.loss.backward()  # before the next is asked for, as the contract says
        assert report.loss.ndim == 0
        assert report.loss.isfinite()
        assert report.loss.requires_grad
        assert report.metrics
        for name, value in report.metrics.items():
            assert value.float().isfinite().all(), name
            assert not value.requires_grad, name
    assert reports


def test_only_lora_tensors_receive_a_gradient(method_name: str, policy: Policy, fitting) -> None:
    """Oracles 13 and 14: nothing in the base, its VAE, its text encoder or the reward; A starts at zero gradient."""
    method = quick_method(method_name, policy)
    found = gradients(method, policy, fitting)
    trained = set(policy.trainable())
    assert {name for name, p in policy.network.named_parameters() if p.grad is not None} == trained
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert all(gradient.abs().max() == 0 for name, gradient in found.items() if "lora_A" in name)
    assert any(gradient.abs().max() > 0 for name, gradient in found.items() if "lora_B" in name)
    frozen = [part for part in vars(policy.base).values() if isinstance(part, torch.nn.Module)]
    for part in [*frozen, *([fitting] if isinstance(fitting, torch.nn.Module) else [])]:
        for name, parameter in part.named_parameters():
            assert "lora_" in name or (parameter.grad is None and not parameter.requires_grad), name


def test_the_same_update_gives_the_same_gradient_bit_for_bit(method_name: str, policy: Policy, fitting) -> None:
    method = quick_method(method_name, policy)
    once = gradients(method, policy, fitting)
    torch.manual_seed(99)  # a method that draws outside its rng would notice
    again = gradients(method, policy, fitting)
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_an_update_leaves_the_base_weights_untouched(method_name: str, policy: Policy, fitting) -> None:
    before = {name: p.detach().clone() for name, p in policy.network.named_parameters() if "lora_" not in name}
    gradients(quick_method(method_name, policy), policy, fitting)
    after = dict(policy.network.named_parameters())
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


class Training:
    """Updates as the trainer makes them, and all that a checkpoint keeps of them."""

    def __init__(self, method, policy: Policy, reward) -> None:
        self.method, self.policy, self.reward = method, policy, reward
        self.parameters = policy.trainable()
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=1e-3)

    def update(self, number: int) -> None:
        events = self.method.losses(
            self.policy, self.reward, batch_for(self.policy, self.method, number), Rng(7, number, (0, 1))
        )
        for event in alone(events):
            if isinstance(event, OptimizerStep):
                self._step()
            else:
                event.loss.backward()
        self._step()
        if isinstance(self.method, Remembers):
            self.method.after_update(self.policy, number)

    def _step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> tuple[dict, dict, dict]:
        memory = self.method.state_dict() if isinstance(self.method, Remembers) else {}
        return self.policy.adapter_state(), checkpoint.optimizer_state(self.optimizer, self.parameters), memory

    def restore(self, state: tuple[dict, dict, dict]) -> None:
        self.policy.load_adapter(state[0])
        checkpoint.load_optimizer_state(self.optimizer, self.parameters, state[1])
        if isinstance(self.method, Remembers):
            self.method.load_state_dict(state[2])


@pytest.mark.parametrize("base_name", ["demo", "tiny_unet", "tiny_unet_v", "wan", "cogvideox"], indirect=True)
def test_two_updates_change_the_lora_alone_and_a_resume_between_them_changes_nothing(
    method_name: str, policy: Policy, fitting
) -> None:
    """On flow, noise and v prediction, pictures and clips; bit for bit, optimizer and the method's memory included."""
    frozen = {name: p.detach().clone() for name, p in policy.network.named_parameters() if "lora_" not in name}
    fresh, straight = policy.adapter_state(), Training(quick_method(method_name, policy), policy, fitting)
    straight.update(0)
    saved = straight.state()
    straight.update(1)
    expected = straight.state()
    policy.load_adapter(fresh)
    resumed = Training(quick_method(method_name, policy), policy, fitting)
    resumed.restore(saved)
    resumed.update(1)
    for ours, theirs in zip(resumed.state(), expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    after = dict(policy.network.named_parameters())
    assert all(torch.equal(after[name], tensor) for name, tensor in frozen.items())
    assert any(not torch.equal(expected[0][name], tensor) for name, tensor in fresh.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("base_name", ["demo", "tiny_unet", "flux", "sdxl"], indirect=True)
@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_a_policy_gradient_meets_the_very_numbers_of_its_rollout(
    policy: Policy, reward_of, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, guidance_scale: float
) -> None:
    """Every ratio is 1 before the first step, also in bfloat16 with a LoRA that does something: nothing is folded."""
    monkeypatch.setattr(policy, "dtype", dtype)
    for number, parameter in enumerate(policy.trainable().values()):
        parameter.data += 0.05 * Rng(2, 0, (number,)).normal("lora", parameter.shape)[0]
    method = quick_method("flow_grpo", policy, guidance_scale=guidance_scale, minibatches=1, samples_per_call=4)
    reports = list(reports_of(method, policy, reward_of("demo")))
    ratios = [value for report in reports for name, value in report.metrics.items() if name.startswith("ratio")]
    assert len(ratios) == len(reports) == 4
    assert all(torch.equal(ratio, torch.ones_like(ratio)) for ratio in ratios)


@pytest.mark.parametrize("reward_name", [n for n in REWARDS if not tables.load_class(REWARDS, n).held_out])
@pytest.mark.parametrize("base_name", ["tiny_unet"], indirect=True)
def test_a_method_takes_every_reward_that_fits(method_name: str, policy: Policy, reward_of, reward_name: str) -> None:
    missing = (
        tables.load_class(METHODS, method_name).needs - tables.load_class(REWARDS, reward_name).gives - {"words"} - DATA
    )
    if missing:
        pytest.skip(f"{reward_name} does not give {sorted(missing)}")
    gives = tables.load_class(REWARDS, reward_name).gives
    changes = {} if "text_conditioned" in gives else {"preference": "plain"}  # else both words score the same
    found = gradients(quick_method(method_name, policy, **changes), policy, reward_of(reward_name))
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert any(gradient.abs().max() > 0 for gradient in found.values())


def test_batched_branches_equal_sequential_ones(policy: Policy, reward_of) -> None:
    """Oracle 16 on real networks: the sum of two micro-steps, float32, under a reward without kinks (max pooling)."""
    together = gradients(quick_method("srpo", policy, branches="batched"), policy, reward_of("demo_second"))
    apart = gradients(quick_method("srpo", policy, branches="sequential"), policy, reward_of("demo_second"))
    assert distance(together, apart) <= 1e-5


def layer_calls(part: torch.nn.Module, calls: list[int]) -> None:
    """Count in `calls` how often a layer without children runs."""
    for module in part.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_: calls.append(1))


def test_gradient_checkpointing_recomputes_and_changes_no_gradient(
    policy: Policy, thrifty_policy: Policy, reward_of
) -> None:
    """Oracle 17: in the denoiser and in the VAE."""
    method = quick_method("srpo", policy)
    seen: dict[Policy, list[list[int]]] = {policy: [[], []], thrifty_policy: [[], []]}
    found = []
    for one, (in_network, in_vae) in seen.items():
        layer_calls(one.network, in_network)
        layer_calls(one.base.vae, in_vae)
        found.append(gradients(method, one, reward_of("demo")))
    assert distance(*found) <= 1e-5
    assert all(len(often) > len(once) for once, often in zip(*seen.values(), strict=True))


def test_a_fresh_lora_is_the_base_bit_for_bit(policy: Policy) -> None:
    """Oracles 1 and 18 of the preference methods: with the adapter on and off, no number differs."""
    method = quick_method("dpo", policy)
    (first, _) = method.losses(policy, None, batch_for(policy, method), Rng(7, 1, (0, 1)))
    for name in ("logit", "gap_chosen", "gap_rejected"):
        assert torch.equal(first.metrics[name], torch.zeros(2)), name


@pytest.mark.parametrize("base_name", ["demo", "tiny_unet", "wan", "cogvideox"], indirect=True)
def test_a_white_mask_changes_no_bit_of_a_real_network_s_gradient(policy: Policy) -> None:
    """Pictures and clips; a mask of one half does."""
    method = quick_method("dpo", policy)
    batch, rng = batch_for(policy, method), Rng(7, 1, (0, 1))
    half = torch.ones(2, *[1] * (len(policy.latent_shape) - 2), *policy.latent_shape[-2:])
    half[..., : half.shape[-1] // 2] = 0
    found = []
    for focus in (None, torch.ones_like(half), 2 * half):
        policy.network.zero_grad(set_to_none=True)
        for report in method.losses(policy, None, replace(batch, focus=focus), rng):
            report.loss.backward()
        found.append({name: parameter.grad.clone() for name, parameter in policy.trainable().items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert distance(found[2], found[0]) > 0.1


@pytest.mark.parametrize("name", ["dpo", "inpo", "kto", "latent_reward"])
def test_two_phases_give_the_same_gradient_with_recomputed_activations(
    policy: Policy, thrifty_policy: Policy, name: str
) -> None:
    """Oracle 18: the adapter is on again when checkpointed layers run once more."""
    method = quick_method(name, policy)
    assert distance(*(gradients(method, one, None) for one in (policy, thrifty_policy))) <= 1e-5


@pytest.mark.parametrize("base_name", ["demo", "tiny_unet", "sd15"], indirect=True)
def test_a_latent_reward_sees_the_frozen_base_whatever_the_lora_says(policy: Policy, thrifty_policy: Policy) -> None:
    """Score and gradient, also where activations are recomputed in the backward pass."""
    judge = latent_reward.load(str(latent_reward_of(policy)), policy)
    rng, level = Rng(7, 1, (0, 1)), policy.schedule.level(torch.tensor([0.3, 0.7]))
    x_t, text = rng.normal("x", policy.latent_shape), policy.base.encode(["a cat", "a red car"])
    fresh = judge.look(policy, x_t, level, text)
    for one in (policy, thrifty_policy):
        for parameter in one.trainable().values():
            parameter.data.fill_(0.1)
        seen = judge.look(one, x_t, level, text)
        torch.testing.assert_close(seen.score, fresh.score, rtol=1e-4, atol=1e-5)
        assert (seen.gradient - fresh.gradient).norm() <= 1e-4 * fresh.gradient.norm()
        with_lora = one.predict(x_t, level, text).x0
        assert not torch.allclose(with_lora, seen.reference.x0, atol=1e-3)
