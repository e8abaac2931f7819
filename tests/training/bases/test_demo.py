"""The demo base packs, numbers and scales as the FLUX pipeline of diffusers does."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxPipeline
from torch.testing import assert_close

from toolkit.errors import UsageError
from training.bases._packing import image_ids, pack, unpack
from training.bases.demo import Demo


@pytest.fixture(scope="module")
def demo() -> Demo:
    return Demo()


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 12)])
def test_pack_and_unpack_are_the_flux_pipelines(height: int, width: int) -> None:
    latents = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(0))
    packed = FluxPipeline._pack_latents(latents, 2, 4, height, width)
    assert torch.equal(pack(latents), packed)
    assert torch.equal(unpack(packed, height // 2, width // 2), latents)


def test_image_ids_are_the_flux_pipelines() -> None:
    expected = FluxPipeline._prepare_latent_image_ids(1, 5, 3, torch.device("cpu"), torch.float32)
    assert torch.equal(image_ids(5, 3, torch.device("cpu")), expected)


def test_decoding_what_was_encoded_gives_the_picture_back(demo: Demo) -> None:
    """A soft picture survives the autoencoder: both directions use one scale and one shift."""
    ramp = torch.linspace(0.2, 0.8, 64)
    picture = torch.stack([ramp.expand(64, 64), ramp.expand(64, 64).T, torch.full((64, 64), 0.5)])[None]
    with torch.no_grad():
        again = demo.decode(demo.encode_images(picture))
    assert (again - picture).abs().mean() < 0.06


def test_the_decoder_receives_exactly_what_the_encoder_gave(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scale and shift of the VAE's config are applied one way and undone the other."""
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    received = []
    monkeypatch.setattr(demo.vae, "decode", lambda z, return_dict: received.append(z) or (torch.zeros(1, 3, 64, 64),))
    demo.decode(demo.encode_images(picture))
    with torch.no_grad():
        raw = demo.vae.encode(picture * 2 - 1).latent_dist.mode()
    assert_close(received[0], raw, rtol=1e-5, atol=1e-5)


def test_latents_are_about_as_large_as_the_noise_they_are_mixed_with(demo: Demo) -> None:
    with torch.no_grad():
        latents = demo.encode_images(torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert 0.3 < latents.std() < 3


def test_long_prompts_are_cut_and_the_empty_one_is_allowed(demo: Demo) -> None:
    conditioning = demo.encode(["", "a cat " * 200])
    assert conditioning["prompt_embeds"].isfinite().all()
    assert conditioning["pooled"].shape[0] == 2


def test_a_folder_without_weights_is_refused_with_a_way_out(tmp_path) -> None:
    with pytest.raises(UsageError, match="make world"):
        Demo(Demo.Settings(weights=str(tmp_path)))
