"""Every base beside diffusers' own pipeline: the same pictures of the same noise, prompts and steps, LoRA and all."""

from __future__ import annotations

import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import pytest
import torch
from tiny import folders
from tiny.complaints import heard

from comfy_nodes.header import AlignedLoraHeader
from toolkit import lora_file
from toolkit.recipe import Lora, Section
from toolkit.words import WordPair
from training import lora_loading, rollout, tables
from training.adapters import Policy
from training.bases import BASES
from training.contracts import PromptBatch
from training.randomness import Rng

FAMILIES = [*(name for name in BASES if name != "demo"), "cogvideox_2b"]
PROMPTS = ["a red cat", "the blue house in a photo"]
STEPS = 4
LORA = Lora(rank=2, layers="all")
TOLERANCE = 1e-4


class Comparison(NamedTuple):
    """What there is to say of a base beside its pipeline."""

    base: str
    parametrisation: str
    guidance: str
    latents: tuple[int, ...]
    difference: float  # largest, of pixels in [0, 1]
    with_lora: float
    change: float  # largest, that the LoRA makes
    tensors: int
    missing: int
    unexpected: int
    complaints: list[str]


@cache
def policy_of(name: str) -> tuple[Policy, dict]:
    policy = Policy(tables.base(folders.section(name, gradient_checkpointing=False)), LORA, seed=1)
    return policy, policy.adapter_state()


def noise_of(policy: Policy) -> torch.Tensor:
    return Rng(3, 0, (0, 1)).normal("picture", policy.latent_shape)


def scale_of(name: str) -> float:
    """The guidance that the pipeline is asked for, as Palate counts it."""
    tiny = folders.family(name)
    said = tiny.GUIDANCE.get("guidance_scale") or tiny.GUIDANCE.get("true_cfg_scale", 1.0)
    return getattr(tiny, "SCALE", said)


def pixels_of_policy(name: str, adapter: dict) -> torch.Tensor:
    policy, _ = policy_of(name)
    policy.load_adapter(adapter)
    conditioning = policy.base.encode(PROMPTS)
    latents = rollout.sample(policy, noise_of(policy), conditioning, steps=STEPS, guidance_scale=scale_of(name))
    return policy.decode(latents).detach()


def pixels_of_pipeline(name: str, pipe: Any) -> torch.Tensor:
    tiny = folders.family(name)
    latents = getattr(tiny, "to_pipeline", lambda noise: noise)(noise_of(policy_of(name)[0]))
    width, height = tiny.SIZE
    length = {"num_frames": tiny.SETTINGS["frames"]} if policy_of(name)[0].base.frames_per_second else {}
    drawn = pipe(
        prompt=list(PROMPTS), latents=latents, width=width, height=height, num_inference_steps=STEPS, output_type="pt",
        **length, **tiny.GUIDANCE, **getattr(tiny, "OPTIONS", {}),
    )  # fmt: skip
    return drawn.frames if length else drawn.images


def pipeline_of(name: str) -> Any:
    pipe = getattr(diffusers, policy_of(name)[0].base.pipeline).from_pretrained(folders.folder(name))
    pipe.set_progress_bar_config(disable=True)
    getattr(folders.family(name), "deterministic", lambda _pipe: None)(pipe)
    return pipe


def trained(name: str) -> dict:
    """The adapter after two updates of ReFL."""
    policy, fresh = policy_of(name)
    policy.load_adapter(fresh)
    settings = {"rollout_steps": 3, "first_step": 1, "last_step": 2, "shift": 1.0, "margin": None}
    method = tables.method(Section(name="refl", settings=settings))
    reward = tables.reward(Section(name="demo"))
    words = [WordPair(positive="3d render", negative="line art"), WordPair(positive="sharp", negative="blurry")]
    batch = PromptBatch(PROMPTS, policy.base.encode(PROMPTS), words)
    optimizer = torch.optim.AdamW(policy.trainable().values(), lr=0.02)
    for update in (1, 2):
        for report in method.losses(policy, reward, batch, Rng(7, update, (0, 1))):
            report.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return policy.adapter_state()


def describe(policy: Policy) -> lora_file.Description:
    facts = policy.base.lora_facts
    return lora_file.Description(
        title="aligned", component=facts.component, architecture=facts.architecture,
        base_model_version=facts.base_model_version, resolution=facts.resolution, rank=LORA.rank,
        target_modules=tuple(policy.base.lora_layers[LORA.layers]), learning_rate=0.02, updates=2, seed=1,
        header=AlignedLoraHeader(
            method="refl", family=facts.family, base=facts.base_name, words=[], reward="demo", reward_hash="0",
            recipe_hash="0", update=2,
        ),
    )  # fmt: skip


def load_lora(pipe: Any, path: Path) -> None:
    """By the pipeline's own loader, or by ours where diffusers has none for the family."""
    if hasattr(pipe, "load_lora_weights"):
        pipe.load_lora_weights(path.parent, weight_name=path.name)
    else:
        lora_loading.load_lora(pipe, path, adapter_name="default_0")


def loaded_names(network: torch.nn.Module) -> set[str]:
    names = (name for name, _ in network.named_parameters() if ".lora_" in name)
    return {name.replace(".default_0.", ".") for name in names}


@cache
def comparison(name: str) -> Comparison:
    policy, fresh = policy_of(name)
    pipe, adapter = pipeline_of(name), trained(name)
    plain = pixels_of_pipeline(name, pipe)
    difference = (plain - pixels_of_policy(name, fresh)).abs().max().item()
    with tempfile.TemporaryDirectory() as folder, heard() as complaints:
        path = Path(folder) / "aligned.safetensors"
        lora_file.save(path, adapter, describe(policy))
        load_lora(pipe, path)
    aligned = pixels_of_pipeline(name, pipe)
    loaded = loaded_names(getattr(pipe, policy.base.component))
    return Comparison(
        name, policy.base.parametrisation, policy.base.guidance, policy.latent_shape, difference,
        (aligned - pixels_of_policy(name, adapter)).abs().max().item(), (aligned - plain).abs().max().item(),
        len(adapter), len(adapter.keys() - loaded), len(loaded - adapter.keys()), complaints,
    )  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_sampling_equals_the_pipelines(name: str) -> None:
    assert comparison(name).difference <= TOLERANCE


@pytest.mark.parametrize("name", FAMILIES)
def test_a_trained_lora_loads_whole_into_the_pipeline_and_draws_the_same(name: str) -> None:
    found = comparison(name)
    assert found.complaints == []
    assert found.missing == found.unexpected == 0
    assert found.change > 10 * TOLERANCE
    assert found.with_lora <= TOLERANCE


def test_the_table_of_all_bases() -> None:
    """Read it with `pytest -s`."""
    columns = "base", "parametrisation", "guidance", "latents", "difference", "with LoRA", "tensors", "miss", "unexp"
    form = "{:12} {:15} {:9} {:12} {:>10} {:>10} {:>8} {:>5} {:>5}"
    print("\n" + form.format(*columns))
    for row in map(comparison, FAMILIES):
        latents, numbers = "x".join(map(str, row.latents)), (f"{row.difference:.1e}", f"{row.with_lora:.1e}")
        keys = row.tensors, row.missing, row.unexpected
        print(form.format(row.base, row.parametrisation, row.guidance, latents, *numbers, *keys))
    assert {comparison(name).parametrisation for name in FAMILIES} >= {"epsilon", "v_prediction", "velocity"}


@pytest.mark.parametrize("name", FAMILIES)
def test_all_layers_are_every_linear_of_the_blocks_but_those_left_out(name: str) -> None:
    policy, _ = policy_of(name)
    modules = {name.replace(".base_layer", ""): m for name, m in policy.network.named_modules() if "lora_" not in name}
    lists = tuple(f"{name}." for name, module in modules.items() if isinstance(module, torch.nn.ModuleList))
    linears = [n for n, module in modules.items() if isinstance(module, torch.nn.Linear) and n.startswith(lists)]
    left_out = folders.family(name).LEFT_OUT
    assert linears
    for linear in linears:
        in_reach = any(f".{linear}".endswith(f".{layer}") for layer in policy.base.lora_layers["all"])
        assert in_reach != any(f".{linear}".endswith(f".{layer}") for layer in left_out), linear
    assert all(any(f".{linear}".endswith(f".{layer}") for linear in linears) for layer in left_out)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_beyond_the_limit_is_warned_of_once(name: str) -> None:
    base: Any = policy_of(name)[0].base
    with pytest.warns(UserWarning, match=rf"is \d+ tokens long, of which {name} reads {base.max_tokens}; the rest"):
        base.encode(["a cat", "the red car " * 200])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        base.encode(["the blue car " * 200])


@pytest.mark.parametrize("name", FAMILIES)
def test_every_prompt_has_conditioning_of_one_shape(name: str) -> None:
    """Rows are kept one by one and put together."""
    base: Any = policy_of(name)[0].base
    base._has_warned = True
    shapes = [{k: v.shape for k, v in base.encode([text]).items()} for text in ("", "a cat", "the red car " * 200)]
    assert shapes[0] == shapes[1] == shapes[2]
