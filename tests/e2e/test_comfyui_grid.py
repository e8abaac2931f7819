"""Strength Sweep and Compare Grid in real ComfyUI servers: a cell is what a graph of single nodes draws.

pytest -m slow tests/e2e/test_comfyui_grid.py   (after `make comfyui`, or with COMFYUI_PATH: see real_comfyui.py)
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from PIL import Image
from real_comfyui import needed

from comfy_nodes.demo_world.header import FILE_NAME

SEED, STEPS, GUIDANCE = 11, 8, 2.5
TASTE, PROMPT, NEGATIVE = "taste.safetensors", "a strawberry on a blue background", "dark"
STRENGTHS, SEEDS = (0.5, 1.0), 2
SAMPLING = {"steps": STEPS, "cfg": GUIDANCE, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
WAY = {"way": "prefix", "start": 0.0, "end": 0.5}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    needed,
]
Graph = dict[str, dict[str, Any]]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def grid(kind: str, **inputs: Any) -> Graph:
    """A node that draws grids, all of its outputs saved or shown."""
    given = {
        "model": ["demo", 0], "clip": ["demo", 1], "vae": ["demo", 2], "latent_image": ["latent", 0],
        "prompt": PROMPT, "negative_prompt": NEGATIVE, "lora_name": TASTE, "word_strength": 1.0, **WAY,
        "strengths": ", ".join(map(str, STRENGTHS)), "seed": SEED, "seeds": SEEDS, "guidance": 0.0, **SAMPLING,
    }  # fmt: skip
    return {
        "demo": node("PalateDemoWorldLoader", model_name=FILE_NAME),
        "latent": node("PalateDemoWorldLatent", batch_size=1),
        "grid": node(kind, **{**given, **inputs}),
        "images": node("SaveImage", images=["grid", 1], filename_prefix="cells"),
        "labels": node("PreviewAny", source=["grid", 2]),
        "info": node("PreviewAny", source=["grid", 3]),
    }


def single(strength: float, seed: int, way: str = "prefix", *, apart: bool = False) -> Graph:
    """The same by single nodes: core's alone at strength 0; LoRA and words in one node of ours, or in two."""
    graph = {
        "demo": node("PalateDemoWorldLoader", model_name=FILE_NAME),
        "latent": node("PalateDemoWorldLatent", batch_size=1),
    }
    prompts = {"clip": ["demo", 1], "prompt": PROMPT, "negative_prompt": NEGATIVE, **WAY, "way": way}
    model, sides = ["demo", 0], [["positive", 0], ["negative", 0]]
    if not strength:
        graph |= {
            "positive": node("CLIPTextEncode", clip=["demo", 1], text=PROMPT),
            "negative": node("CLIPTextEncode", clip=["demo", 1], text=NEGATIVE),
        }
    elif apart:
        graph |= {
            "lora": node("PalateLoadAlignedLora", model=model, lora_name=TASTE, strength_model=strength,
                         strength_clip=strength),
            "words": node("PalateStyleWords", source="LoRA", lora_name=TASTE, pair=1, positive_word="",
                          library_pair="3d render / line art", negative_word="", word_strength=1.0, **prompts),
        }  # fmt: skip
        model, sides = ["lora", 0], [["words", 0], ["words", 1]]
    else:
        ours = {"model": model, "lora_name": TASTE, "strength": strength, "word_strength": 1.0, **prompts}
        graph["ours"] = node("PalateAlignedPrompt", **ours)
        model, sides = ["ours", 0], [["ours", 1], ["ours", 2]]
    graph["sampler"] = node(
        "KSampler", model=model, positive=sides[0], negative=sides[1], latent_image=["latent", 0], seed=seed, **SAMPLING
    )
    graph["decode"] = node("VAEDecode", samples=["sampler", 0], vae=["demo", 2])
    graph["images"] = node("SaveImage", images=["decode", 0], filename_prefix="single")
    return graph


def pictures(server: Any, saved: list[dict[str, str]], folder: str = "output") -> list[np.ndarray]:
    paths = [server.folder / folder / image["subfolder"] / image["filename"] for image in saved]
    return [np.asarray(Image.open(path).convert("RGB"), dtype=np.int64) for path in paths]


def drawn(server: Any, graph: Graph) -> tuple[list[np.ndarray], np.ndarray, list[str], str]:
    """Cells, the grid in the node's preview, labels, info."""
    shown = server.outputs(graph)
    (preview,) = pictures(server, shown["grid"]["images"], "temp")
    return (
        pictures(server, shown["images"]["images"]), preview, shown["labels"]["text"][0].splitlines(),
        shown["info"]["text"][0],
    )  # fmt: skip


def test_every_cell_of_a_sweep_is_what_single_nodes_draw(stocked: Any) -> None:
    cells, preview, labels, info = drawn(stocked, grid("PalateStrengthSweep"))
    assert labels == [
        f"seed {seed}: {column}"
        for seed in (SEED, SEED + 1)
        for column in ("base", *(f"strength {strength:g}" for strength in STRENGTHS))
    ]
    assert "3 columns × 2 rows, 6 of 6 cells sampled" in info
    assert "prefix: 3d render / line art at 1" in info
    places = [(strength, seed) for seed in (SEED, SEED + 1) for strength in (0.0, *STRENGTHS)]
    errors = []
    for cell, (strength, seed) in zip(cells, places, strict=True):
        (wanted,) = pictures(stocked, stocked.outputs(single(strength, seed))["images"]["images"])
        errors.append(int(np.abs(cell - wanted).max()))
        assert wanted.std() > 20  # a picture, not a plain field
    (apart,) = pictures(stocked, stocked.outputs(single(1.0, SEED, apart=True))["images"]["images"])
    errors.append(int(np.abs(cells[2] - apart).max()))
    changes = [int(np.abs(cells[0] - cells[column]).max()) for column in (1, 2, 3)]
    print(f"largest differences {errors} of 255; strengths and seed change the base by up to {changes}")
    assert max(errors) <= 1
    assert min(changes) > 20
    assert all(any((preview[top : top + 64, left : left + 64] == cell).all() for top, left in corners(preview))
               for cell in cells)  # fmt: skip


def corners(preview: np.ndarray) -> list[tuple[int, int]]:
    height, width = (side - 63 for side in preview.shape[:2])
    return [(top, left) for top in range(height) for left in range(width)]


def test_it_is_cached_until_something_changes(stocked: Any) -> None:
    asked = grid("PalateStrengthSweep", strengths="0.7", seeds=1)
    stocked.outputs(asked)
    again = stocked.run(asked)["status"]["messages"]
    assert "grid" in {name for kind, about in again if kind == "execution_cached" for name in about["nodes"]}
    file = stocked.folder / "models" / "loras" / TASTE
    os.utime(file, ns=(file.stat().st_mtime_ns + 1_000_000_000,) * 2)
    again = stocked.run(asked)["status"]["messages"]
    assert "grid" not in {name for kind, about in again if kind == "execution_cached" for name in about["nodes"]}


@pytest.mark.parametrize("way", ["prefix", "average", "direction", "concat", "timestep range"])
def test_words_of_the_lora_in_every_way_are_those_of_aligned_prompt(stocked: Any, way: str) -> None:
    asked = grid("PalateCompareGrid", words="own\noff\nbright / dark", strengths="1", seeds=1, way=way)
    cells, _, labels, info = drawn(stocked, asked)
    assert [label.removeprefix(f"seed {SEED}: ") for label in labels] == [
        "base", "strength 1, + 3d render, - line art", "strength 1, no words", "strength 1, + bright, - dark",
    ]  # fmt: skip
    assert "4 columns × 1 rows, 4 of 4 cells sampled" in info
    for column, strength in ((0, 0.0), (1, 1.0)):
        (wanted,) = pictures(stocked, stocked.outputs(single(strength, SEED, way))["images"]["images"])
        assert np.abs(cells[column] - wanted).max() <= 1
    assert len({cell.tobytes() for cell in cells}) == 4


def test_a_chain_is_compared_and_what_is_equal_is_sampled_once(stocked: Any) -> None:
    other = stocked.folder / "models" / "loras" / "other.safetensors"
    other.write_bytes((stocked.folder / "models" / "loras" / TASTE).read_bytes())
    asked = grid("PalateCompareGrid", words="off", strengths="0, 1", loras=["chain", 0])
    asked["chain"] = node("PalateChainLora", lora_name="other.safetensors", strength=0.5, word_strength=1.0,
                          positive_word="", negative_word="")  # fmt: skip
    cells, _, labels, info = drawn(stocked, asked)
    assert [label.removeprefix(f"seed {SEED}: ") for label in labels[:5]] == [
        "base", "taste, strength 0", "taste, strength 1", "other, strength 0", "other, strength 0.5",
    ]  # fmt: skip
    assert "5 columns × 2 rows, 6 of 10 cells sampled" in info
    assert (cells[0] == cells[1]).all()
    assert (cells[0] == cells[3]).all()
    assert (cells[2] != cells[4]).any()


def test_what_cannot_be_is_refused_in_a_sentence(stocked: Any) -> None:
    assert "prompt_id" not in stocked.submit(grid("PalateStrengthSweep", strengths="strong"))
    assert "prompt_id" not in stocked.submit(grid("PalateCompareGrid", lora_name="../taste.safetensors"))
    many = grid("PalateCompareGrid", strengths=" ".join(map(str, range(1, 17))), words="off\nown", seeds=8)
    assert stocked.refused(many).startswith("33 columns and 8 rows are 264 cells, and 64 are the most.")
    batch = grid("PalateStrengthSweep")
    batch["latent"]["inputs"]["batch_size"] = 3
    assert stocked.refused(batch).startswith("The latent is a batch of 3.")
