"""Every example workflow in a real ComfyUI server: it runs in API form, and its sockets are the server's.

pytest -m slow tests/e2e/test_comfyui_workflows.py   (after `make comfyui`, or with COMFYUI_PATH: see real_comfyui.py)
python tests/e2e/test_comfyui_workflows.py --write   renews toolkit/comfyui/sockets.json from the server
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from real_comfyui import needed

from toolkit.comfyui.sockets import Kind, kinds

CORE = (
    "CLIPLoader", "CLIPTextEncode", "CheckpointLoaderSimple", "CreateVideo", "DualCLIPLoader",
    "EmptyHunyuanLatentVideo", "EmptyLatentImage", "EmptySD3LatentImage", "FluxGuidance", "KSampler",
    "ModelSamplingAuraFlow", "ModelSamplingFlux", "ModelSamplingSD3", "PreviewAny", "SaveImage", "SaveVideo",
    "StringConcatenate", "TripleCLIPLoader", "UNETLoader", "VAEDecode", "VAELoader",
)  # fmt: skip
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
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


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    from conftest import start  # this folder's
    from real_comfyui import CHECKOUTS

    with tempfile.TemporaryDirectory() as folder:
        running = start(CHECKOUTS[0], Path(folder) / "server")
        all_nodes = running.get("/object_info")
        running.process.terminate()
        running.process.wait(30)
    table = facts(all_nodes, sorted([*CORE, *ours(all_nodes)]))
    lines = [f'"{name}": {json.dumps(about)}' for name, about in table.items()]
    Path(str(files("toolkit.comfyui") / "sockets.json")).write_text("{\n" + ",\n".join(lines) + "\n}\n")
