"""Every base beside diffusers' own pipeline: the same pictures, from the same noise, prompts and steps."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from tiny import folders

from toolkit.recipe import Lora
from training import rollout, tables
from training.adapters import Policy
from training.bases import BASES
from training.randomness import Rng

FAMILIES = [name for name in BASES if name != "demo"]
PROMPTS = ["a red cat", "the blue house in a photo"]
STEPS = 4


@cache
def policy_of(name: str) -> Policy:
    return Policy(tables.base(folders.section(name)), Lora(rank=2), seed=1)


def scale_of(name: str) -> float:
    """The guidance that the pipeline is asked for, as Palate counts it."""
    tiny = folders.family(name)
    said = tiny.GUIDANCE.get("guidance_scale") or tiny.GUIDANCE.get("true_cfg_scale", 1.0)
    return getattr(tiny, "SCALE", said)


def noise_of(policy: Policy) -> torch.Tensor:
    return Rng(3, 0, (0, 1)).normal("picture", policy.latent_shape)


def pixels_of_policy(name: str) -> torch.Tensor:
    policy = policy_of(name)
    scale = scale_of(name)
    conditioning = policy.base.encode(PROMPTS)
    latents = rollout.sample(policy, noise_of(policy), conditioning, steps=STEPS, guidance_scale=scale)
    return policy.decode(latents).detach()


def pixels_of_pipeline(name: str) -> torch.Tensor:
    tiny = folders.family(name)
    pipe = type(tiny.build()).from_pretrained(folders.folder(name))
    pipe.set_progress_bar_config(disable=True)
    getattr(tiny, "deterministic", lambda _pipe: None)(pipe)
    latents = getattr(tiny, "to_pipeline", lambda noise: noise)(noise_of(policy_of(name)))
    width, height = tiny.SIZE
    return pipe(
        prompt=list(PROMPTS), latents=latents, width=width, height=height, num_inference_steps=STEPS, output_type="pt",
        **tiny.GUIDANCE, **getattr(tiny, "OPTIONS", {}),
    ).images  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_sampling_equals_the_pipelines(name: str) -> None:
    assert (pixels_of_pipeline(name) - pixels_of_policy(name)).abs().max() <= 1e-4
