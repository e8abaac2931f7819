"""The LoRA in the base: on, off, folded in, at any strength, and nothing else trained."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from toolkit.errors import TrainingError
from toolkit.recipe import Lora
from training.adapters import Policy
from training.contracts import LoraFacts
from training.schedules import FlowSchedule

FACTS = LoraFacts("tiny", "transformer", "tiny", "tiny", "tiny", (2, 2))


class TinyNetwork(nn.Module):
    """Two layers that get an adapter, one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.frozen = nn.Linear(13, 16), nn.Linear(16, 12), nn.Linear(12, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.frozen(self.outer(torch.tanh(self.inner(x))))


class TinyBase:
    """Flow matching on 12 numbers; the prompt is one number."""

    parametrisation = "velocity"
    guidance = "true"
    text_id = ""
    lora_layers = {"attention": ["inner"], "all": ["inner", "outer"]}  # noqa: RUF012
    lora_facts = FACTS
    latent_shape = (3, 2, 2)

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = TinyNetwork()
        self.schedule = FlowSchedule()
        self.batches: list[int] = []
        self.guidance_scales: list[float] = []

    def to(self, device: torch.device) -> TinyBase:
        return self

    def encode(self, prompts) -> dict[str, torch.Tensor]:
        return {"text": torch.tensor([[float(len(prompt))] for prompt in prompts])}

    def release_text(self) -> None:
        pass

    def encode_nothing(self) -> dict[str, torch.Tensor]:
        return self.encode([""])

    def guide(self, with_text, without, guidance_scale) -> torch.Tensor:
        return without + guidance_scale * (with_text - without)

    def forward(self, x_t, timestep, conditioning, guidance_scale) -> torch.Tensor:
        self.batches.append(len(x_t))
        self.guidance_scales.append(guidance_scale)
        return self.network(torch.cat([x_t.flatten(1), conditioning["text"]], dim=1)).reshape(x_t.shape)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def trained(layers: str = "all", seed: int = 1) -> Policy:
    """A policy whose LoRA does something."""
    policy = Policy(TinyBase(), Lora(rank=2, layers=layers), seed=seed)
    generator = torch.Generator().manual_seed(9)
    for parameter in policy.trainable().values():
        parameter.data += torch.randn(parameter.shape, generator=generator)
    return policy


def answer(policy: Policy, guidance_scale: float = 1.0) -> torch.Tensor:
    x_t = torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2)
    level = policy.schedule.level(torch.tensor([0.3, 0.8]))
    return policy.predict(x_t, level, policy.base.encode(["a cat", "a"]), guidance_scale).noise


def bases_answer() -> torch.Tensor:
    base = TinyBase()
    x_t = torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2)
    velocity = base.forward(x_t, torch.tensor([0.3, 0.8]), base.encode(["a cat", "a"]), 1.0)
    return x_t + (1 - torch.tensor([0.3, 0.8])).reshape(2, 1, 1, 1) * velocity


def test_a_fresh_lora_changes_nothing_at_all() -> None:
    """Oracle 14, first half: B = 0, so the output is the base's, bit for bit."""
    assert torch.equal(answer(Policy(TinyBase(), Lora(rank=2))), bases_answer())


def test_the_first_gradient_moves_only_the_b_matrices() -> None:
    """Oracle 14, second half: grad(A) = 0, grad(B) != 0 while B = 0."""
    policy = Policy(TinyBase(), Lora(rank=2))
    answer(policy).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in policy.trainable().items()}
    assert all(gradient.abs().max() == 0 for name, gradient in gradients.items() if "lora_A" in name)
    assert all(gradient.abs().max() > 0 for name, gradient in gradients.items() if "lora_B" in name)


def test_only_lora_tensors_are_trained() -> None:
    """Oracle 13, the network's part."""
    policy = trained()
    answer(policy).sum().backward()
    with_gradient = {name for name, p in policy.network.named_parameters() if p.grad is not None}
    assert with_gradient == set(policy.trainable())
    assert all("lora_" in name for name in with_gradient)
    assert len(with_gradient) == 4


def test_layers_chooses_what_is_trained() -> None:
    assert {name.split(".")[0] for name in trained("attention").trainable()} == {"inner"}
    assert {name.split(".")[0] for name in trained("all").trainable()} == {"inner", "outer"}


def test_the_seed_alone_decides_the_first_lora() -> None:
    torch.manual_seed(1)
    one = Policy(TinyBase(), Lora(rank=2), seed=5).adapter_state()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    two = Policy(TinyBase(), Lora(rank=2), seed=5).adapter_state()
    assert torch.equal(torch.random.get_rng_state(), before)
    other = Policy(TinyBase(), Lora(rank=2), seed=6).adapter_state()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_as_reference_is_exactly_the_base_and_ends() -> None:
    policy = trained()
    with_lora = answer(policy)
    with policy.as_reference():
        assert torch.equal(answer(policy), bases_answer())
    assert torch.equal(answer(policy), with_lora)
    assert not torch.allclose(with_lora, bases_answer())


def test_folded_gives_the_same_answer_and_restores_the_weights_bit_for_bit() -> None:
    policy = trained()
    weights = {name: parameter.detach().clone() for name, parameter in policy.network.named_parameters()}
    expected = answer(policy)
    with torch.no_grad(), policy.folded():
        assert_close(answer(policy), expected, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(parameter, weights[name]) for name, parameter in policy.network.named_parameters())
    assert torch.equal(answer(policy), expected)
    assert set(policy.trainable()) == {name for name in weights if "lora_" in name}


def test_only_float32_weights_are_folded_since_half_as_many_bits_would_forget_a_young_lora() -> None:
    policy = trained()
    policy.network.bfloat16()
    weight = policy.network.inner.base_layer.weight
    young = weight.float() * 2**-10
    assert torch.equal((weight.float() + young).bfloat16(), weight)  # why: nothing would be left of it
    policy.dtype, before = torch.bfloat16, weight.data_ptr()
    with torch.no_grad():
        expected = answer(policy)
        with policy.folded():
            assert weight.data_ptr() == before  # no copy
            assert torch.equal(answer(policy), expected)
        with policy.as_reference():
            assert not torch.equal(answer(policy), expected)


def test_folded_restores_the_weights_when_something_fails_inside() -> None:
    policy = trained()
    expected = answer(policy)
    with pytest.raises(RuntimeError, match="inside"), policy.folded():
        raise RuntimeError("inside")
    assert torch.equal(answer(policy), expected)


def test_folded_restores_the_weights_when_folding_itself_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = trained()
    expected = answer(policy)
    outer = policy.network.outer

    def fail(_adapter):
        raise MemoryError

    monkeypatch.setattr(outer, "get_delta_weight", fail)
    with pytest.raises(MemoryError), policy.folded():
        pytest.fail("folding should not have succeeded")
    assert torch.equal(answer(policy), expected)


def test_folded_inside_as_reference_stays_the_reference() -> None:
    policy = trained()
    with policy.as_reference():
        with policy.folded():
            assert torch.equal(answer(policy), bases_answer())
        assert torch.equal(answer(policy), bases_answer())
    assert not torch.allclose(answer(policy), bases_answer())


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.5])
def test_strength_scales_what_the_lora_adds_to_a_weight(strength: float) -> None:
    policy = trained()
    base = policy.network.inner.base_layer.weight.detach().clone()
    with policy.folded():
        full = policy.network.inner.base_layer.weight - base
    with policy.at_strength(strength), policy.folded():
        assert_close(policy.network.inner.base_layer.weight - base, strength * full)


def test_strength_zero_is_the_base_and_strength_one_is_the_trained_lora() -> None:
    policy = trained()
    expected = answer(policy)
    with policy.at_strength(0.0):
        assert torch.equal(answer(policy), bases_answer())
    assert torch.equal(answer(policy), expected)
    with policy.at_strength(1.0):
        assert torch.equal(answer(policy), expected)
    assert torch.equal(answer(policy), expected)


def test_an_adapter_taken_out_goes_back_in() -> None:
    policy, other = trained(), Policy(TinyBase(), Lora(rank=2), seed=8)
    other.load_adapter(policy.adapter_state())
    assert torch.equal(answer(other), answer(policy))
    assert list(policy.adapter_state()) == sorted(policy.adapter_state())


def test_a_state_is_a_copy() -> None:
    policy = trained()
    state = policy.adapter_state()
    before = {name: tensor.clone() for name, tensor in state.items()}
    for parameter in policy.trainable().values():
        parameter.data.add_(1)
    assert all(torch.equal(state[name], before[name]) for name in state)


def test_an_adapter_of_another_rank_is_refused_by_name() -> None:
    other = Policy(TinyBase(), Lora(rank=3))
    with pytest.raises(TrainingError, match=r"inner.lora_A.weight"):
        trained().load_adapter(other.adapter_state())


def test_true_guidance_is_one_doubled_call_extrapolated_from_the_empty_prompt() -> None:
    policy = trained()
    x_t, level = torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2), policy.schedule.level(torch.tensor([0.3, 0.8]))
    with_text = policy.predict(x_t, level, policy.base.encode(["a cat", "a"]))
    without = policy.predict(x_t, level, policy.base.encode(["", ""]))
    policy.base.batches.clear()
    guided = policy.predict(x_t, level, policy.base.encode(["a cat", "a"]), 3.0)
    assert policy.base.batches == [4]
    assert_close(guided.x0, without.x0 + 3 * (with_text.x0 - without.x0), rtol=1e-5, atol=1e-5)


def test_embedded_guidance_is_handed_to_the_network() -> None:
    policy = trained()
    policy.base.guidance = "embedded"
    answer(policy, 3.5)
    assert (policy.base.batches[-1], policy.base.guidance_scales[-1]) == (2, 3.5)
