"""The Demo World in real ComfyUI servers draws what diffusers draws: base and LoRA, by core's own nodes.

pytest -m slow tests/e2e/test_comfyui_demo.py   (after `make comfyui`, or with COMFYUI_PATH: see real_comfyui.py)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from PIL import Image
from real_comfyui import needed
from safetensors.torch import load_file

from comfy_nodes.demo_world.header import FILE_NAME
from training.bases.demo import Demo
from training.schedules import sigma_grid

ROOT = Path(__file__).parents[2]
PROMPT, STEPS, GUIDANCE, SEED, PICTURES = "3d render of a strawberry on a blue background", 20, 2.5, 11, 2
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500), needed]


def workflow(*, strength: float = 0.0) -> dict[str, Any]:
    """Load Demo World, then core's nodes: LoRA at a strength (0: none), prompts, Euler, decode, save."""
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "demo": ("PalateDemoWorldLoader", {"model_name": FILE_NAME}),
        "lora": (
            "LoraLoaderModelOnly",
            {"model": ["demo", 0], "lora_name": "taste.safetensors", "strength_model": strength},
        ),
        "positive": ("CLIPTextEncode", {"clip": ["demo", 1], "text": PROMPT}),
        "negative": ("CLIPTextEncode", {"clip": ["demo", 1], "text": ""}),
        "latent": ("PalateDemoWorldLatent", {"batch_size": PICTURES}),
        "sampler": (
            "KSampler",
            {
                "model": ["lora", 0] if strength else ["demo", 0], "positive": ["positive", 0],
                "negative": ["negative", 0], "latent_image": ["latent", 0], "seed": SEED, "steps": STEPS,
                "cfg": GUIDANCE, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0,
            },
        ),
        "decode": ("VAEDecode", {"samples": ["sampler", 0], "vae": ["demo", 2]}),
        "save": ("SaveImage", {"images": ["decode", 0], "filename_prefix": f"demo_{strength}"}),
    }  # fmt: skip
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def in_comfyui(server: Any, strength: float = 0.0) -> np.ndarray:
    """[B, 64, 64, 3] of bytes, as saved."""
    saved = server.outputs(workflow(strength=strength))["save"]["images"]
    paths = [server.folder / "output" / image["subfolder"] / image["filename"] for image in saved]
    return np.stack([np.asarray(Image.open(path).convert("RGB"), dtype=np.int64) for path in paths])


@torch.no_grad()
def in_diffusers(lora: Path | None = None, strength: float = 1.0) -> np.ndarray:
    """The same by diffusers' network, LoRA loader, Euler scheduler and autoencoder, from the noise of the same seed."""
    base = Demo()
    if lora:
        base.network.load_lora_adapter(load_file(lora), prefix="transformer", adapter_name="taste")
        base.network.set_adapters(["taste"], [strength])
    scheduler: Any = FlowMatchEulerDiscreteScheduler.from_pretrained(ROOT / "demo_world" / "weights" / "scheduler")
    grid = sigma_grid(STEPS)
    scheduler.set_timesteps(sigmas=grid[:-1].tolist())
    torch.testing.assert_close(scheduler.sigmas, grid)  # the levels that training rolls out over
    x = torch.randn((PICTURES, *base.latent_shape), generator=torch.manual_seed(SEED))
    text, nothing = base.encode([PROMPT] * PICTURES), base.encode([""] * PICTURES)
    for sigma, timestep in zip(grid[:-1], scheduler.timesteps, strict=True):
        level = sigma.expand(PICTURES)
        velocity = base.guide(base.forward(x, level, text, 1.0), base.forward(x, level, nothing, 1.0), GUIDANCE)
        x = scheduler.step(velocity, timestep, x, return_dict=False)[0]
    return (base.decode(x) * 255).movedim(1, -1).numpy()


def test_the_base_draws_the_same_picture(stocked: Any) -> None:
    seen, wanted = in_comfyui(stocked), in_diffusers()
    assert seen.shape == (PICTURES, 64, 64, 3)
    assert wanted.std() > 20  # a picture, not a plain field
    print(f"base: largest difference {np.abs(seen - wanted).max():.3f} of 255")
    assert np.abs(seen - wanted).max() <= 2


@pytest.mark.parametrize("strength", [1.0, 0.5, -1.0])
def test_a_lora_of_ours_changes_it_as_in_diffusers(stocked: Any, lora: Path, strength: float) -> None:
    seen, wanted, base = in_comfyui(stocked, strength), in_diffusers(lora, strength), in_diffusers()
    error, change = np.abs(seen - wanted).max(), np.abs(wanted - base).max()
    print(f"LoRA at {strength}: largest difference {error:.3f} of 255; it changes the base by up to {change:.0f}")
    assert error <= 2
    assert change > 20


def test_nothing_went_wrong_unseen(stocked: Any) -> None:
    in_comfyui(stocked, 1.0)
    said = stocked.text()
    assert "lora key not loaded" not in said
    assert "Traceback" not in said.split("Starting server")[-1]
    assert "clip missing" not in said
    assert {"PalateDemoWorldLoader", "PalateDemoWorldLatent"} <= stocked.get("/object_info").keys()


@pytest.mark.parametrize("name", ["../loras/taste.safetensors", "/etc/hostname", "taste.safetensors", ""])
def test_only_names_in_the_folder_are_loaded(stocked: Any, name: str) -> None:
    asked = workflow()
    asked["demo"]["inputs"]["model_name"] = name
    assert "demo" in stocked.submit(asked)["node_errors"]
