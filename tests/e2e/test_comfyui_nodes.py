"""The pack in a real ComfyUI server: it loads, it patches what core patches, its prompts are core's.

pytest -m slow tests/e2e/test_comfyui_nodes.py   (after `make comfyui`, or with COMFYUI_PATH: see real_comfyui.py)
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from real_comfyui import needed
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny.random_loras import diffusers_file, network_of

from toolkit.loras import convert

pytestmark = [pytest.mark.slow, needed]
NODES = {
    "PalateAlignedPrompt", "PalateChainLora", "PalateClipPreferenceModel", "PalateCompareGrid",
    "PalateDemoWorldLatent", "PalateDemoWorldLoader", "PalateLoadAlignedLora", "PalateLoadPreferenceModel",
    "PalatePickBest", "PalatePreferenceScore", "PalateSaveForArena", "PalateStrengthSweep", "PalateStyleWords",
}  # fmt: skip
FAMILIES = ("flux", "qwen_image", "sd15", "sd3", "sdxl", "wan")
WIDTH = 768  # of CLIP-L, which the tiny SD 1.5 reads in the runs that sample
SMALL = 0.01  # strength in the runs that sample: the files' numbers are large beside the model's
WORDED = (r"3d render \(soft\). a cat", "line art. bad")


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def file_for(server, tmp_path: Path, family: str, name: str = "") -> str:
    """A random LoRA in the layout for ComfyUI, in the server's folder."""
    name = name or f"{family}.safetensors"
    place = server.folder / "models" / "loras" / name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        ready = tmp_path / "ready.safetensors"
        convert.convert(diffusers_file(tmp_path, family, network_of(family)), "comfyui", ready)
        shutil.copyfile(ready, place)
    return name


def ours(name: str, model: str, strength: float, **more: Any) -> dict[str, Any]:
    return node("PalateLoadAlignedLora", model=[model, 0], lora_name=name, strength_model=strength,
                strength_clip=strength, **more)  # fmt: skip


def core(name: str, model: str, strength: float) -> dict[str, Any]:
    return node("LoraLoaderModelOnly", model=[model, 0], lora_name=name, strength_model=strength)


def base(family: str, context: int = 0) -> dict[str, Any]:
    return node("TestModel", family=family, context=context)


def test_the_server_lists_the_nodes_and_explains_every_socket(server) -> None:
    listed = server.get("/object_info")
    found = {name: about for name, about in listed.items() if about["python_module"] == "custom_nodes.palate"}
    assert set(found) == NODES
    for about in found.values():
        sockets = {**about["input"].get("required", {}), **about["input"].get("optional", {})}
        assert [name for name, socket in sockets.items() if not socket[1]["tooltip"]] == []
        assert all(about["output_tooltips"])
        assert not set(about["output_name"]) & set(about["output"])  # a name of its own, not its type
        assert about["description"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("strength", [1.0, 0.5, -1.0])
def test_the_weights_are_those_of_cores_own_loader(server, tmp_path: Path, family: str, strength: float) -> None:
    name = file_for(server, tmp_path, family)
    tensors = len(load_file(server.folder / "models" / "loras" / name))
    graph = {
        "model": base(family), "ours": ours(name, "model", strength), "core": core(name, "model", strength),
        "compare": node("TestCompare", one=["ours", 0], other=["core", 0]),
    }  # fmt: skip
    shown = server.outputs(graph)
    (found,) = shown["compare"]["found"]
    assert found["only_one"] == []
    assert found["difference"] == 0.0
    assert found["weights"] > 0
    assert found["smallest_change"] > 0
    (info,) = shown["ours"]["text"]
    assert f"{tensors} of {tensors} tensors used" in info


def test_two_stacked_are_those_of_core_stacked(server, tmp_path: Path) -> None:
    name, other = file_for(server, tmp_path, "sd15"), file_for(server, tmp_path, "sd15", "people/second.safetensors")
    graph = {
        "model": base("sd15"), "ours": ours(name, "model", 0.5), "ours2": ours(other, "ours", -0.3),
        "core": core(name, "model", 0.5), "core2": core(other, "core", -0.3),
        "compare": node("TestCompare", one=["ours2", 0], other=["core2", 0]),
    }  # fmt: skip
    (found,) = server.outputs(graph)["compare"]["found"]
    assert (found["only_one"], found["difference"]) == ([], 0.0)


def test_another_family_and_what_is_no_file_are_refused(server, tmp_path: Path) -> None:
    name = file_for(server, tmp_path, "sdxl")
    graph = {"model": base("sd15"), "ours": ours(name, "model", 1.0),
             "show": node("TestCompare", one=["ours", 0], other=["model", 0])}  # fmt: skip
    sentence = "sdxl.safetensors is a LoRA for Stable Diffusion XL, and the model is Stable Diffusion 1.5"
    assert server.refused(graph).startswith(sentence)
    for wrong in ("../sdxl.safetensors", "/etc/passwd", "absent.safetensors"):
        graph["ours"]["inputs"]["lora_name"] = wrong
        assert "prompt_id" not in server.submit(graph)


def sampled(model: list[Any], positive: list[Any], negative: list[Any], name: str) -> dict[str, Any]:
    """Two steps of core's sampler, and the latent written to disk."""
    return {
        f"{name} noise": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        f"{name} sampler": node(
            "KSampler", model=model, positive=positive, negative=negative, latent_image=[f"{name} noise", 0], seed=3,
            steps=2, cfg=4.0, sampler_name="euler", scheduler="normal", denoise=1.0,
        ),
        f"{name} save": node("SaveLatent", samples=[f"{name} sampler", 0], filename_prefix=name),
    }  # fmt: skip


def latent(server, name: str) -> torch.Tensor:
    (file, *_) = sorted(server.folder.joinpath("output").glob(f"{name}_*.latent"), reverse=True)
    return load_file(file)["latent_tensor"]


def aligned_prompt(name: str, **inputs: Any) -> dict[str, Any]:
    given = {
        "model": ["model", 0], "clip": ["clip", 0], "prompt": "a cat", "negative_prompt": "bad", "strength": SMALL,
        "lora_name": name, "way": "prefix", "start": 0.0, "end": 0.5, "word_strength": 1.0, **inputs,
    }  # fmt: skip
    return node("PalateAlignedPrompt", **given)


def test_aligned_prompt_samples_what_core_samples_with_the_words_typed(server, tmp_path: Path) -> None:
    """LoraLoader and CLIPTextEncode with "word. prompt": the same latent to the bit, and not the base's."""
    name = file_for(server, tmp_path, "sd15")
    # The tiny network of the file reads 48 numbers a token; those layers do not fit the model that reads CLIP-L.
    place = server.folder / "models" / "loras" / "clip.safetensors"
    without_text_layers(server.folder / "models" / "loras" / name, place)
    graph = {
        "model": base("sd15", WIDTH), "clip": node("TestClip"),
        "ours": aligned_prompt("clip.safetensors"),
        **sampled(["ours", 0], ["ours", 1], ["ours", 2], "ours"),
        "lora": core("clip.safetensors", "model", SMALL),
        "positive": node("CLIPTextEncode", clip=["clip", 0], text=WORDED[0]),
        "negative": node("CLIPTextEncode", clip=["clip", 0], text=WORDED[1]),
        **sampled(["lora", 0], ["positive", 0], ["negative", 0], "core"),
        "without": aligned_prompt("clip.safetensors", strength=0.0, word_strength=0.0),
        **sampled(["without", 0], ["without", 1], ["without", 2], "without"),
        "plain": node("CLIPTextEncode", clip=["clip", 0], text="a cat"),
        "plain negative": node("CLIPTextEncode", clip=["clip", 0], text="bad"),
        **sampled(["model", 0], ["plain", 0], ["plain negative", 0], "base"),
    }  # fmt: skip
    shown = server.outputs(graph)
    assert shown["ours"]["text"][0].startswith("\n\n".join(WORDED))
    assert torch.equal(latent(server, "ours"), latent(server, "core"))
    assert torch.equal(latent(server, "without"), latent(server, "base"))
    assert not torch.equal(latent(server, "ours"), latent(server, "base"))
    assert latent(server, "ours").isfinite().all()


def without_text_layers(source: Path, output: Path) -> None:
    """The same LoRA without the layers that read the text."""
    with safe_open(source, "pt") as file:
        metadata = file.metadata()
    kept = {
        name: tensor
        for name, tensor in load_file(source).items()
        if "attn2_to_k" not in name and "attn2_to_v" not in name
    }
    save_file(kept, output, metadata=metadata)


@pytest.mark.parametrize("way", ["prefix", "average", "direction", "concat", "timestep range"])
def test_every_way_runs_and_strength_0_is_the_plain_prompt(server, way: str) -> None:
    def words(strength: float) -> dict[str, Any]:
        return node(
            "PalateStyleWords", clip=["clip", 0], prompt="a cat", negative_prompt="bad", source="typed", pair=1,
            lora_name="none", library_pair="3d render / line art", positive_word="calm", negative_word="loud",
            way=way, start=0.0, end=0.5, word_strength=strength,
        )  # fmt: skip

    graph = {
        "model": base("sd15", WIDTH), "clip": node("TestClip"), "one": words(1.0), "none": words(0.0),
        **sampled(["model", 0], ["one", 0], ["one", 1], "worded"),
        **sampled(["model", 0], ["none", 0], ["none", 1], "unworded"),
        "plain": node("CLIPTextEncode", clip=["clip", 0], text="a cat"),
        "plain negative": node("CLIPTextEncode", clip=["clip", 0], text="bad"),
        **sampled(["model", 0], ["plain", 0], ["plain negative", 0], "plainly"),
    }  # fmt: skip
    server.outputs(graph)
    assert torch.equal(latent(server, "unworded"), latent(server, "plainly"))
    assert not torch.equal(latent(server, "worded"), latent(server, "plainly"))


def test_a_file_replaced_on_disk_is_read_again(server, tmp_path: Path) -> None:
    """Core keeps the old weights; the node runs again by itself, and only then."""
    name = file_for(server, tmp_path, "flux", "replaced.safetensors")
    graph = {"model": base("flux"), "ours": ours(name, "model", 1.0), "again": ours(name, "model", 1.0),
             "compare": node("TestCompare", one=["ours", 0], other=["model", 0])}  # fmt: skip
    server.outputs(graph)
    cached = server.run(graph)["status"]["messages"]
    assert {"model", "ours"} <= {n for kind, about in cached if kind == "execution_cached" for n in about["nodes"]}
    place = server.folder / "models" / "loras" / name
    place.write_bytes(place.read_bytes())
    os.utime(place, ns=(7, 7))
    cached = server.run(graph)["status"]["messages"]
    assert "ours" not in {n for kind, about in cached if kind == "execution_cached" for n in about["nodes"]}
