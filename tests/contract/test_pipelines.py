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

FAMILIES = [*(name for name in BASES if name != "demo"), "cogvideox_2b"]
PROMPTS = ["a red cat", "the blue house in a photo"]
STEPS = 4


@cache
def policy_of(name: str) -> Policy:
    return Policy(tables.base(folders.section(name)), Lora(rank=2), seed=1)


def noise_of(policy: Policy) -> torch.Tensor:
    return Rng(3, 0, (0, 1)).normal("picture", policy.latent_shape)


def pixels_of_policy(name: str) -> torch.Tensor:
    policy = policy_of(name)
    scale = folders.family(name).GUIDANCE.get("guidance_scale", 1.0)
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
    length = {"num_frames": tiny.SETTINGS["frames"]} if policy_of(name).base.frames_per_second else {}
    drawn = pipe(
        prompt=PROMPTS, latents=latents, width=width, height=height, num_inference_steps=STEPS, output_type="pt",
        **length, **tiny.GUIDANCE,
    )  # fmt: skip
    return drawn.frames if length else drawn.images


@pytest.mark.parametrize("name", FAMILIES)
def test_sampling_equals_the_pipelines(name: str) -> None:
    assert (pixels_of_pipeline(name) - pixels_of_policy(name)).abs().max() <= 1e-4
