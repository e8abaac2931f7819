"""Video families: exact gradients through their VAEs, rules about frames, and LoRAs that diffusers plays alike."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan
from tiny import folders
from torch.testing import assert_close

from comfy_nodes.header import AlignedLoraHeader
from toolkit import lora_file
from toolkit.errors import UsageError
from toolkit.lora_file import Description
from toolkit.recipe import Lora, Section
from toolkit.words import WordPair
from training import tables
from training.adapters import Policy
from training.bases import BASES
from training.bases.wan import decode_frame_by_frame
from training.contracts import PromptBatch
from training.randomness import Rng
from training.rollout import sample

FAMILIES = [name for name in BASES if "text_to_video" in tables.load_class(BASES, name).gives]
PROMPTS = ["a red cat", "the blue house in a photo"]
STEPS = 4  # divides 1000: otherwise CogVideoX's scheduler steps to a timestep beside the one it feeds next
HEADER = AlignedLoraHeader(method="direct_align", family="tiny", base="tiny", update=2)


def noise_like(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_base_says_how_its_clips_are_made(name: str) -> None:
    base = tables.base(folders.section(name))
    frames = base.settings.frames
    assert base.latent_shape == (4, (frames - 1) // 4 + 1, 16 // 4, 32 // 4)
    assert base.frames_per_second > 0
    assert not base.vae.use_tiling


@pytest.mark.parametrize(("name", "frames", "nearest"), [("wan", 80, "77 and 81"), ("cogvideox", 53, "49 and 57")])
def test_frames_that_the_vae_cannot_group_are_refused_with_the_nearest_that_fit(
    name: str, frames: int, nearest: str
) -> None:
    with pytest.raises(UsageError, match=rf"`{name}.frames` is not right: {frames} is not \dk \+ 1; .* {nearest}"):
        tables.base(Section(name=name, settings={"frames": frames}))


@pytest.mark.parametrize("name", FAMILIES)
def test_sides_that_are_no_whole_tokens_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"`{name}.width` is not right: Input should be a multiple of 16"):
        tables.base(Section(name=name, settings={"width": 500}))


@pytest.mark.parametrize("name", FAMILIES)
def test_one_file_is_refused_because_diffusers_reads_no_such_pipeline(name: str, tmp_path: Path) -> None:
    file = tmp_path / "all_in_one.safetensors"
    file.touch()
    with pytest.raises(UsageError, match="from a folder or the Hub only"):
        tables.base(Section(name=name, settings={"weights": str(file)}))


def test_a_decode_frame_by_frame_is_the_vaes_own_in_value_and_gradient() -> None:
    vae: Any = AutoencoderKLWan.from_pretrained(folders.folder("wan"), subfolder="vae").double().requires_grad_(False)
    weights = noise_like((2, 3, 13, 16, 32), 1)
    results = []
    for decode in (lambda z: vae.decode(z, return_dict=False)[0], lambda z: decode_frame_by_frame(vae, z)):
        latents = noise_like((2, 4, 4, 4, 8)).requires_grad_()
        pixels = decode(latents)
        (pixels * weights).sum().backward()
        results.append((pixels.detach(), latents.grad))
    assert_close(results[1], results[0], rtol=1e-10, atol=1e-12)
    assert results[0][1][:, :, 0].abs().max() > 0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_gradient_crosses_the_batches_of_frames_of_cogvideox(checkpointing: bool) -> None:
    """Five latent frames are decoded as three and two, joined by a cache; held against central differences."""
    folder = folders.folder("cogvideox")
    vae: Any = AutoencoderKLCogVideoX.from_pretrained(folder, subfolder="vae").double().requires_grad_(False)
    if checkpointing:
        vae.enable_gradient_checkpointing()
    latents, weights = noise_like((1, 4, 5, 4, 8)).requires_grad_(), noise_like((1, 3, 17, 16, 32), 1)
    weights[:, :, :9] = 0  # only the second batch is looked at

    def seen(z: torch.Tensor) -> torch.Tensor:
        return (vae.decode(z, return_dict=False)[0] * weights).sum()

    (gradient,) = torch.autograd.grad(seen(latents), latents)
    assert gradient[:, :, 1:3].abs().max() > 0  # through the cache, back into the first
    with torch.no_grad():
        for seed in range(3):
            direction, h = noise_like(latents.shape, 10 + seed), 1e-5
            slope = (seen(latents + h * direction) - seen(latents - h * direction)) / (2 * h)
            assert_close((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-8)


def test_wans_text_is_zero_after_the_prompts_end() -> None:
    states = tables.base(folders.section("wan")).encode(["a cat"])["states"]
    assert states.shape[1] == 512
    used = states[0].abs().amax(dim=1) > 0
    assert used.sum() < 10
    assert used[: int(used.sum())].all()


def saved(pipe: Any, name: str, folder: Path) -> Section:
    """A section that reads this pipeline from disk."""
    pipe.save_pretrained(folder)
    return Section(name=name, settings={**folders.section(name).settings, "weights": str(folder)})


@pytest.mark.parametrize("sign", [{"boundary_ratio": 0.875}, {"expand_timesteps": True}])
def test_wan_22_is_refused(tmp_path: Path, sign: dict[str, Any]) -> None:
    pipe = folders.family("wan").build()
    pipe.register_to_config(**sign)
    with pytest.raises(UsageError, match=r"`odd` is a Wan 2\.2"):
        tables.base(saved(pipe, "wan", tmp_path / "odd"))


def test_cogvideox_15_is_refused(tmp_path: Path) -> None:
    pipe = folders.family("cogvideox").build()
    config = {name: value for name, value in pipe.transformer.config.items() if not name.startswith("_")}
    pipe.transformer = type(pipe.transformer)(**{**config, "patch_size_t": 2})
    with pytest.raises(UsageError, match=r"`odd` is a CogVideoX 1\.5"):
        tables.base(saved(pipe, "cogvideox", tmp_path / "odd"))


def trained(name: str, layers: str) -> Policy:
    """Two real updates of Direct-Align, large enough to see."""
    policy = Policy(tables.base(folders.section(name)), Lora(rank=2, layers=layers), seed=1)
    settings = {"rollout_steps": 2, "sigma_low": 0.5, "sigma_high": 0.85}
    method = tables.method(Section(name="direct_align", settings=settings))
    reward = tables.reward(Section(name="demo"))
    words = [WordPair(positive="3d render", negative="line art")] * 2
    batch = PromptBatch(PROMPTS, policy.base.encode(PROMPTS), words)
    optimizer = torch.optim.AdamW(policy.trainable().values(), lr=0.05)
    for update in range(2):
        for report in method.losses(policy, reward, batch, Rng(7, update, (0, 1))):
            report.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return policy


def save(policy: Policy, path: Path, layers: str) -> None:
    facts = policy.base.lora_facts
    description = Description(
        title="tiny", component=facts.component, architecture=facts.architecture,
        base_model_version=facts.base_model_version, resolution=facts.resolution, rank=2,
        target_modules=tuple(policy.base.lora_layers[layers]), learning_rate=0.05, updates=2, seed=1,
        header=HEADER,
    )  # fmt: skip
    lora_file.save(path, policy.adapter_state(), description)


@torch.no_grad()
def clips_of(policy: Policy, noise: torch.Tensor, scale: float) -> torch.Tensor:
    conditioning = policy.base.encode(PROMPTS)
    return policy.decode(sample(policy, noise, conditioning, steps=STEPS, guidance_scale=scale))


@pytest.mark.parametrize("layers", ["attention", "all"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_trained_lora_is_loaded_whole_and_played_alike_by_diffusers(
    name: str, layers: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny, policy, path = folders.family(name), trained(name, layers), tmp_path / "aligned.safetensors"
    scale, noise = tiny.GUIDANCE["guidance_scale"], Rng(3, 0, (0, 1)).normal("clip", policy.latent_shape)
    mine = clips_of(policy, noise, scale)
    with policy.as_reference():
        assert (clips_of(policy, noise, scale) - mine).abs().max() > 1e-2
    save(policy, path, layers)

    pipe = type(tiny.build()).from_pretrained(folders.folder(name))
    pipe.set_progress_bar_config(disable=True)
    tiny.deterministic(pipe)
    for library in ("diffusers", "peft"):
        logging.getLogger(library).addHandler(caplog.handler)
    pipe.load_lora_weights(tmp_path, weight_name=path.name)
    for library in ("diffusers", "peft"):
        logging.getLogger(library).removeHandler(caplog.handler)
    assert caplog.messages == []  # unexpected or missing keys would be told here
    loaded = {n.replace(".default_0.", "."): p for n, p in pipe.transformer.named_parameters() if ".lora_" in n}
    expected = policy.adapter_state()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)

    width, height = tiny.SIZE
    drawn = pipe(
        prompt=PROMPTS, latents=getattr(tiny, "to_pipeline", lambda x: x)(noise), width=width, height=height,
        num_frames=tiny.SETTINGS["frames"], num_inference_steps=STEPS, output_type="pt", guidance_scale=scale,
    ).frames  # fmt: skip
    assert (drawn - mine).abs().max() <= 1e-4
