"""Every example workflow in a real ComfyUI server: it runs in API form, and its sockets are the server's.

pytest -m slow tests/e2e/test_comfyui_workflows.py   (after `make comfyui`, or with COMFYUI_PATH: see real_comfyui.py)
python tests/e2e/test_comfyui_workflows.py --write   renews toolkit/comfyui/sockets.json from the server
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from real_comfyui import CHECKOUTS, PACKAGES, needed
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import rewards as tiny_rewards
from tiny.random_loras import WORDS, diffusers_file, network_of, random_updates

from comfy_nodes.header import AlignedLoraHeader
from toolkit.comfyui import drawing, families
from toolkit.comfyui.comparing_examples import CLIP, SCORER
from toolkit.comfyui.drawing import Drawing
from toolkit.comfyui.examples import EXAMPLES, SECOND, TAUGHT
from toolkit.comfyui.sockets import Kind, kinds
from toolkit.demo_export import export
from toolkit.loras import convert, writing
from toolkit.loras.families import FAMILIES as LORA_FAMILIES

CORE = (
    "CLIPLoader", "CLIPTextEncode", "CLIPVisionLoader", "CheckpointLoaderSimple", "CreateVideo", "DualCLIPLoader",
    "EmptyHunyuanLatentVideo", "EmptyLatentImage", "EmptySD3LatentImage", "FluxGuidance", "ImageBatch", "KSampler",
    "ModelSamplingAuraFlow", "ModelSamplingFlux", "ModelSamplingSD3", "PreviewAny", "SaveImage", "SaveVideo",
    "StringConcatenate", "TripleCLIPLoader", "UNETLoader", "VAEDecode", "VAELoader",
)  # fmt: skip
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
HERE = Path(__file__).resolve().parent
REAL = {"flux_realistic_photo": "flux", "sdxl_style_words": "sdxl", "wan_video": "wan"}
WIDE = {  # the real width, few blocks: as comfyui_weights.py makes the networks
    "flux": ("FluxTransformer2DModel", {"num_layers": 1, "num_single_layers": 1, "guidance_embeds": True}),
    "wan": ("WanTransformer3DModel", {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 2}),
}
SCORED = {  # example → how many pictures are scored, how many saved
    "clip_preference_model": (4, 4), "load_preference_model": (4, 4), "pick_best": (9, 3), "preference_score": (2, 2),
}  # fmt: skip
GRIDS = {"compare_grid": (5, 2), "strength_sweep": (4, 3)}  # columns, rows
SEVERAL = {"demo_world_latent": 9, "save_for_arena": 8}  # pictures
SMALL = {"width": 64, "height": 64, "length": 5, "steps": 2}  # what a CPU draws in seconds
ENCODERS = ("CLIPLoader", "DualCLIPLoader")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needed]


def facts(listed: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The sockets of these nodes as `toolkit.comfyui.sockets` keeps them, out of a server's /object_info."""
    return {name: {"inputs": inputs(listed[name]), "outputs": outputs(listed[name])} for name in names}


def outputs(about: dict[str, Any]) -> list[dict[str, str]]:
    pairs = zip(about["output_name"], about["output"], strict=True)
    return [{"name": name, "type": kind if isinstance(kind, str) else "COMBO"} for name, kind in pairs]


def inputs(about: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for group in ("required", "optional"):
        for name in about["input_order"].get(group, []):
            kind, options = (*about["input"][group][name], {})[:2]
            entry: dict[str, Any] = {"name": name, "type": kind if isinstance(kind, str) else "COMBO"}
            if entry["type"] in WIDGETS and not options.get("forceInput"):
                entry |= {"widget": True, "default": default(kind, options)}
            marks = {
                "optional": group == "optional", "lines": options.get("multiline"),
                "control": options.get("control_after_generate"),
            }  # fmt: skip
            found.append(entry | {mark: True for mark, is_set in marks.items() if is_set})
    return found


def default(kind: Any, options: dict[str, Any]) -> Any:
    """What the browser puts there: the default, the first choice, nothing written."""
    choices = options.get("options", []) if isinstance(kind, str) else kind
    return options.get("default", next(iter(choices), "" if kind == "STRING" else None))


def ours(listed: dict[str, Any]) -> list[str]:
    return [name for name, about in listed.items() if about["python_module"] == "custom_nodes.palate"]


def test_the_stored_sockets_are_the_servers(server) -> None:
    listed = server.get("/object_info")
    found = {name: Kind.model_validate(about) for name, about in facts(listed, [*kinds()]).items()}
    files_of_the_user = {"ckpt_name", "clip_name", "lora_name", "model_name", "unet_name", "vae_name"}
    for name, kind in found.items():
        assert [each for each in kind.inputs if each.name not in files_of_the_user] == [
            each for each in kinds()[name].inputs if each.name not in files_of_the_user
        ]
        assert kind.outputs == kinds()[name].outputs
    assert set(ours(listed)) <= kinds().keys()


@pytest.fixture(scope="module")
def stocked(server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The server with the Demo World and two random LoRAs for it, under the names in the examples."""
    export(server.folder)
    made = tmp_path_factory.mktemp("lora") / "demo.safetensors"
    about = AlignedLoraHeader("srpo", "palate-demo", "palate/demo-world", WORDS).to_metadata()
    updates, family = random_updates("demo", network_of("demo")), LORA_FAMILIES["demo"]
    writing.write(made, updates, family, family.diffusers, dtype="float32", metadata=about)
    for name in (TAUGHT, SECOND):
        (server.folder / "models" / "loras" / name).write_bytes(made.read_bytes())
    return server


@pytest.fixture(scope="module")
def scoring(stocked, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same with a random CLIP of the smallest size that ComfyUI takes, in every place that an example names."""
    whole = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save_file(tiny_rewards.full_size("clip"), whole)
    for place in (f"palate/{SCORER}", f"clip_vision/{CLIP}", f"text_encoders/{CLIP}"):
        (stocked.folder / "models" / place).parent.mkdir(exist_ok=True)
        (stocked.folder / "models" / place).symlink_to(whole)
    return stocked


def pictures(server, shown: dict[str, Any]) -> list[np.ndarray]:
    """What the nodes of a graph left in the output folder, each [H, W, 3]."""
    every = [each for about in shown.values() for each in about.get("images", ())]
    saved = [server.folder / "output" / each["subfolder"] / each["filename"] for each in every
             if each["type"] == "output"]  # fmt: skip
    return [np.asarray(Image.open(path).convert("RGB")) for path in saved]


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {*REAL, *SCORED}))
def test_an_example_on_the_demo_world_runs_as_it_is(stocked, name: str) -> None:
    drawn = pictures(stocked, stocked.outputs(EXAMPLES[name]().api()))
    assert len(drawn) == SEVERAL.get(name, 1)
    for picture in drawn:
        columns, rows = GRIDS.get(name, (1, 1))
        assert picture.shape[0] >= 64 * rows
        assert picture.shape[1] >= 64 * columns
        assert picture.std() > 5
        assert name in GRIDS or picture.shape == (64, 64, 3)


@pytest.mark.parametrize("name", SCORED)
def test_an_example_with_a_preference_model_scores_every_picture(scoring, name: str) -> None:
    graph, (scored, kept) = EXAMPLES[name](), SCORED[name]
    shown = scoring.outputs(graph.api())
    assert len(pictures(scoring, shown)) == kept
    (table,) = [node.number for node in graph.nodes if node.name in ("PalatePickBest", "PalatePreferenceScore")]
    (text,) = shown[str(table)]["text"]
    head, *rows = [line.split() for line in text.splitlines()]
    assert head == ["image", *(["words"] if name == "preference_score" else []), "prompt", "size"]
    places, values = zip(*((int(row[0]), float(row[1])) for row in rows[:scored]), strict=True)
    assert sorted(places) == [*range(scored)]
    assert list(values) == sorted(values, reverse=True)
    assert len(set(values)) > 1


@pytest.fixture
def furnished(server, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """The server with random weights in the places that one example names; they are large and leave again."""
    family = REAL[request.getfixturevalue("name")]
    about, models = families.get(family), server.folder / "models"
    places = [models / about.folders[part] / about.files[part] for part in ("model", "vae") if part in about.files]
    checkout = Path(request.node.callspec.params["server"])
    done = subprocess.run(
        [sys.executable, str(HERE / "comfyui_weights.py"), family, *map(str, places)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(checkout), PACKAGES])}, cwd=HERE, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    yield server
    for place in places:
        place.unlink()


def lora_for(server, tmp_path: Path, family: str, name: str) -> int:
    """A LoRA on every layer of the wide network, in the layout that a run writes for ComfyUI; how many tensors."""
    kind, settings = WIDE[family]
    with torch.device("meta"):
        network = getattr(diffusers, kind)(**settings)
    convert.convert(diffusers_file(tmp_path, family, network), "comfyui", server.folder / "models" / "loras" / name)
    with safe_open(server.folder / "models" / "loras" / name, "pt") as file:
        return len(file.keys())


def shrunk(graph: dict[str, Any], family: str) -> dict[str, Any]:
    """The graph in its API form with a random text encoder, a small picture and two steps; all else is the file's."""
    made = {number: {**node, "inputs": dict(node["inputs"])} for number, node in graph.items()}
    encoder = {"class_type": "TestEncoder", "inputs": {"family": family}}
    for number, node in graph.items():
        if node["class_type"] in ENCODERS:
            made[number] = encoder
        elif node["class_type"] == "CheckpointLoaderSimple":
            made["encoder"] = encoder
            for other in made.values():
                other["inputs"] = {k: ["encoder", 0] if v == [number, 1] else v for k, v in other["inputs"].items()}
    for node in made.values():
        node["inputs"] |= {name: value for name, value in SMALL.items() if name in node["inputs"]}
    return made


@pytest.mark.long
@pytest.mark.parametrize("name", REAL)
def test_a_real_example_runs_at_its_real_width(furnished, tmp_path: Path, name: str) -> None:
    family, example = REAL[name], EXAMPLES[name]()
    graph = shrunk(example.api(), family)
    loras = [node for node in graph.values() if node["class_type"] == "PalateAlignedPrompt"]
    tensors = [lora_for(furnished, tmp_path, family, node["inputs"]["lora_name"]) for node in loras]
    shown = furnished.outputs(graph)
    (saved,) = [about["images"] for about in shown.values() if "images" in about]
    path = furnished.folder / "output" / saved[0]["subfolder"] / saved[0]["filename"]
    if family == "wan":
        assert path.suffix == ".mp4"
        assert path.stat().st_size > 1000
    else:
        assert np.asarray(Image.open(path)).std() > 5
    for count in tensors:
        assert any(f"{count} of {count} tensors used" in str(about.get("text")) for about in shown.values())


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_familys_graph_takes_what_the_server_offers(server, family: str) -> None:
    """Every choice is one of the server's, every number within its limits; files are the user's."""
    listed = server.get("/object_info")
    for node in drawing.graph(Drawing(family, "a cat"), "any").api().values():
        about = listed[node["class_type"]]["input"]
        known = {**about["required"], **about.get("optional", {})}
        assert set(about["required"]) <= set(node["inputs"]) <= set(known)
        for name, value in node["inputs"].items():
            kind, options = (*known[name], {})[:2]
            choices = options.get("options") if isinstance(kind, str) else kind
            if choices and not str(value).endswith(".safetensors"):
                assert value in choices
            elif kind in ("INT", "FLOAT") and not isinstance(value, list):
                assert options["min"] <= value <= options["max"]


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    from conftest import start  # this folder's

    with tempfile.TemporaryDirectory() as folder:
        running = start(CHECKOUTS[0], Path(folder) / "server")
        all_nodes = running.get("/object_info")
        running.process.terminate()
        running.process.wait(30)
    table = facts(all_nodes, sorted([*CORE, *ours(all_nodes)]))
    lines = [f'"{name}": {json.dumps(about)}' for name, about in table.items()]
    Path(str(files("toolkit.comfyui") / "sockets.json")).write_text("{\n" + ",\n".join(lines) + "\n}\n")
