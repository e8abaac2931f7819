"""The file in the hands of others: diffusers' own loaders take all of it, and the pictures are those of training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tiny.complaints import heard
from torch import Tensor

from toolkit import lora_file
from toolkit.lora_file import Description
from toolkit.recipe import Lora
from training.adapters import Policy
from training.bases.demo import Demo, pack
from training.rollout import sample

STEPS = 4


@pytest.fixture(scope="module")
def policy() -> Policy:
    """The demo base with an adapter that changes its pictures visibly."""
    policy = Policy(Demo(), Lora(rank=4), seed=1)
    generator = torch.Generator().manual_seed(5)
    fresh = policy.adapter_state()
    policy.load_adapter({name: x + 0.05 * torch.randn(x.shape, generator=generator) for name, x in fresh.items()})
    return policy


@pytest.fixture
def path(policy: Policy, description: Description, tmp_path: Path) -> Path:
    layers = tuple(policy.base.lora_layers["all"])
    path = tmp_path / "aligned.safetensors"
    lora_file.save(path, policy.adapter_state(), replace(description, rank=4, target_modules=layers))
    return path


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the loaders warn of."""
    with heard() as said:
        yield said


def pipeline(base: Demo) -> FluxPipeline:
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0), vae=base.vae, transformer=base.network,
        text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None,
    )  # fmt: skip


def weights_in(network: FluxTransformer2DModel) -> dict[str, Tensor]:
    """Every LoRA tensor of a network under the file's names, whatever the loader called its adapter."""
    return {
        f"transformer.{name.replace('.default_0.', '.')}": parameter.detach()
        for name, parameter in network.named_parameters()
        if ".lora_" in name
    }


def test_the_transformer_loads_every_key(path: Path, policy: Policy, complaints: list[str]) -> None:
    network = Demo().network
    network.load_lora_adapter(path, prefix="transformer")
    loaded = weights_in(network)
    expected = {f"transformer.{name}": tensor for name, tensor in policy.adapter_state().items()}
    assert complaints == []
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_the_pipeline_draws_what_was_trained(path: Path, policy: Policy, complaints: list[str]) -> None:
    noise = torch.randn(2, *policy.latent_shape, generator=torch.Generator().manual_seed(9))
    text = policy.base.encode(["a cat", "a red bus"])
    with torch.no_grad():
        trained = policy.decode(sample(policy, noise, text, steps=STEPS))
        with policy.as_reference():
            unaligned = policy.decode(sample(policy, noise, text, steps=STEPS))

    pipe = pipeline(Demo())
    pipe.load_lora_weights(path.parent, weight_name=path.name)
    pipe.set_progress_bar_config(disable=True)
    request = {
        "prompt_embeds": text["prompt_embeds"], "pooled_prompt_embeds": text["pooled"], "latents": pack(noise),
        "num_inference_steps": STEPS, "height": trained.shape[-1], "width": trained.shape[-1], "output_type": "pt",
    }  # fmt: skip
    drawn = pipe(**request).images
    assert complaints == []
    assert (drawn - trained).abs().max() < 1e-5  # W x + B A x instead of (W + B A) x
    flips = (to_bytes(drawn) - to_bytes(trained)).abs()
    assert flips.max() <= 1  # where a value lies on the edge between two bytes
    assert (flips > 0).float().mean() < 1e-3
    assert (to_bytes(unaligned) - to_bytes(trained)).abs().max() > 8


def to_bytes(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round().int()
