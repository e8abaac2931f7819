"""The pack's own autoencoder is diffusers' AutoencoderKL, from the same weights."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from comfy_nodes.demo_world.autoencoder import Autoencoder
from toolkit.demo_export import describe

WEIGHTS = Path(str(files("demo_world") / "weights"))


@pytest.fixture(scope="module")
def pair() -> tuple[Autoencoder, Any]:
    theirs: Any = AutoencoderKL.from_pretrained(WEIGHTS / "vae", local_files_only=True, torch_dtype=torch.float32)
    ours = Autoencoder(**describe(WEIGHTS).autoencoder)
    ours.load_state_dict(theirs.state_dict())  # strict: the same names and shapes
    return ours.eval(), theirs.eval()


def test_it_decodes_as_diffusers_does(pair: tuple[Autoencoder, Any]) -> None:
    ours, theirs = pair
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1)) * 2
    with torch.no_grad():
        wanted = (theirs.decode(latents, return_dict=False)[0] / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(ours.decode(latents), wanted, rtol=0, atol=1e-5)


def test_it_encodes_as_diffusers_does(pair: tuple[Autoencoder, Any]) -> None:
    ours, theirs = pair
    pictures = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = theirs.encode(pictures * 2 - 1, return_dict=False)[0].mode()
    found = ours.encode(pictures)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    assert found.is_contiguous()
