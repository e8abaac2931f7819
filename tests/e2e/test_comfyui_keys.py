"""Our ComfyUI-ready files inside ComfyUI's own source: no unmatched key, and the change of the weights is diffusers'.

COMFYUI_PATH=/path/to/ComfyUI pytest tests/e2e/test_comfyui_keys.py   (what ComfyUI needs must be importable)
COMFYUI_PATH=/path/to/ComfyUI python tests/e2e/test_comfyui_keys.py --write   renews toolkit/loras/keys/*.comfyui.txt
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from toolkit.loras import convert, keys, writing
from toolkit.loras.families import FAMILIES
from toolkit.loras.reading import read
from toolkit.loras.updates import Update, rows_at

COMFYUI = os.environ.get("COMFYUI_PATH", "")
PROBE = Path(__file__).with_name("comfyui_probe.py")
KEYS = Path(keys.__file__).parent / "keys"
HEAD = "# {}: every layer name that ComfyUI {} maps, as its own code listed them for the published models.\n"
TRIED = ("flux", "hunyuan_dit", "qwen_image", "sd15", "sd3", "sdxl", "wan")  # what ComfyUI 0.3.64 has
NETWORKS = json.loads((PROBE.parents[1] / "golden" / "tiny_networks.json").read_text(encoding="utf-8"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH does not say where ComfyUI's source is"),
]


def probe(*arguments: str) -> dict[str, Any]:
    """The probe's answer from a process that sees ComfyUI's modules and none of ours."""
    search = os.pathsep.join(part for part in (COMFYUI, os.environ.get("COMFYUI_PACKAGES", "")) if part)
    result = subprocess.run(
        [sys.executable, str(PROBE), *arguments],
        env={**os.environ, "PYTHONPATH": search}, cwd=PROBE.parent, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.strip().splitlines()[-1])


def random_updates(family: str) -> dict[str, Update]:
    """A small random update on every layer of the tiny network that its original can take."""
    generator = torch.Generator().manual_seed(7)
    with torch.device("meta"):
        network = getattr(diffusers, NETWORKS[family]["class"])(**NETWORKS[family]["settings"])
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return {
        name: Update(
            torch.randn(2, *module.weight.shape[1:], generator=generator),
            torch.randn(module.weight.shape[0], 2, *(1 for _ in module.weight.shape[2:]), generator=generator),
        )
        for name, module in network.named_modules()
        if isinstance(module, kinds) and FAMILIES[family].renaming.to_original(name)
    }


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    return probe("tables")


@pytest.mark.parametrize("family", TRIED)
def test_comfyui_takes_every_key_and_changes_the_weights_as_diffusers_does(family: str, tmp_path: Path) -> None:
    updates = random_updates(family)
    source, ready = tmp_path / "diffusers.safetensors", tmp_path / "comfyui.safetensors"
    about = {"palate": json.dumps({"family": family})}
    writing.write(source, updates, FAMILIES[family], FAMILIES[family].diffusers, dtype="float32", metadata=about)
    convert.convert(source, "comfyui", ready)
    answer = probe("apply", family, str(ready), str(tmp_path / "changes.safetensors"))
    assert answer["unmatched"] == []
    changes = load_file(tmp_path / "changes.safetensors")
    for name, update in read(source).updates.items():
        change, wanted = change_of(family, name, changes), update.delta()
        assert (change - wanted.reshape(change.shape)).norm() <= 1e-5 * wanted.norm(), name


def change_of(family: str, name: str, changes: dict[str, Tensor]) -> Tensor:
    place = FAMILIES[family].renaming.to_original(name)
    assert place is not None
    return rows_at(place, changes[f"{place.name}.weight"])


@pytest.mark.parametrize("family", TRIED)
def test_the_stored_tables_hold_only_what_comfyui_takes(family: str, known: dict[str, Any]) -> None:
    takes = {name for names in known[family].values() for name in names}
    assert keys.comfyui(family) <= takes


def table(title: str, version: str, models: dict[str, list[str]]) -> str:
    """The text of one table: what a low-rank pair can sit on."""
    names = {name: () for each in models.values() for name in each if not name.endswith((".bias", ".scale"))}
    return HEAD.format(title, version) + "[ComfyUI]\n" + "\n".join(keys.compress(names)) + "\n"


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    listed = probe("tables")
    release = listed.pop("version")
    for each, content in listed.items():
        text = table(FAMILIES[each].title, release, content)
        (KEYS / f"{each}.comfyui.txt").write_text(text, encoding="utf-8")
