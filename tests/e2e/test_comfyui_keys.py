"""Our ComfyUI-ready files inside ComfyUI's own source: no unmatched key, and the change of the weights is diffusers'.

pytest -m slow tests/e2e/test_comfyui_keys.py   (after `make comfyui`, or with COMFYUI_PATH: see real_comfyui.py)
COMFYUI_PATH=/path/to/ComfyUI python tests/e2e/test_comfyui_keys.py --write   renews toolkit/loras/keys/*.comfyui.txt
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from real_comfyui import CHECKOUTS, PACKAGES, needed
from safetensors.torch import load_file
from tiny.random_loras import diffusers_file, network_of, random_updates
from torch import Tensor

from toolkit.loras import convert, keys
from toolkit.loras.families import FAMILIES
from toolkit.loras.reading import read
from toolkit.loras.updates import rows_at

PROBE = Path(__file__).with_name("comfyui_probe.py")
KEYS = Path(keys.__file__).parent / "keys"
HEAD = "# {}: every layer name that ComfyUI maps to a matrix, as the code of {} listed them for the published models.\n"
TRIED = ("demo", "flux", "flux2", "hunyuan_dit", "qwen_image", "sd15", "sd3", "sdxl", "wan", "z_image")
LACKING = {"0.3.64": {"flux2", "z_image"}}  # release → families of those that it does not have
AS_THEY_ARE = [family for family in TRIED if convert.serves_both(FAMILIES[family])]
pytestmark = [pytest.mark.slow, needed]


def probe(checkout: Path, *arguments: str) -> dict[str, Any]:
    """The probe's answer from a process that sees ComfyUI's modules and none of ours."""
    search = os.pathsep.join(part for part in (str(checkout), PACKAGES) if part)
    result = subprocess.run(
        [sys.executable, str(PROBE), *arguments],
        env={**os.environ, "PYTHONPATH": search}, cwd=PROBE.parent, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.strip().splitlines()[-1])


@cache
def version(checkout: Path) -> str:
    return probe(checkout, "version")["version"]


@cache
def tables(checkout: Path) -> dict[str, dict[str, list[str]]]:
    """Family → published model → the layer names that this checkout takes."""
    return probe(checkout, "tables")


@pytest.fixture(params=CHECKOUTS, ids=lambda path: path.name, scope="module")
def comfyui(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def checkout(comfyui: Path, family: str) -> Path:
    """A checkout that has the family."""
    if family in LACKING.get(version(comfyui), set()):
        pytest.skip(f"ComfyUI {version(comfyui)} has no {FAMILIES[family].title}")
    return comfyui


def changes_in_comfyui(checkout: Path, family: str, file: Path) -> dict[str, Tensor]:
    """The change of every original weight, after ComfyUI took every key."""
    output = file.with_name("changes.safetensors")
    assert probe(checkout, "apply", family, str(file), str(output)) == {"unmatched": []}
    return load_file(output)


def largest_error(family: str, changes: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Over all layers under diffusers' names, the relative error of ComfyUI's change."""
    errors = []
    for name, change in wanted.items():
        place = FAMILIES[family].renaming.to_original(name)
        assert place is not None
        made = rows_at(place, changes[f"{place.name}.weight"])
        errors.append(float((made - change.reshape(made.shape)).norm() / change.norm()))
    return max(errors)


@pytest.mark.parametrize("family", TRIED)
def test_comfyui_takes_every_key_and_makes_the_same_change(family: str, checkout: Path, tmp_path: Path) -> None:
    source, ready = diffusers_file(tmp_path, family, network_of(family)), tmp_path / "comfyui.safetensors"
    convert.convert(source, "comfyui", ready)
    wanted = {name: update.delta() for name, update in read(source).updates.items()}
    assert largest_error(family, changes_in_comfyui(checkout, family, ready), wanted) <= 1e-5


@pytest.mark.parametrize("family", AS_THEY_ARE)
def test_comfyui_takes_the_diffusers_file_where_no_other_is_written(
    family: str, checkout: Path, tmp_path: Path
) -> None:
    source = diffusers_file(tmp_path, family, network_of(family))
    wanted = {name: update.delta() for name, update in read(source).updates.items()}
    assert largest_error(family, changes_in_comfyui(checkout, family, source), wanted) <= 1e-5


@pytest.mark.parametrize("family", ["flux", "sd15", "sdxl"])
def test_the_weights_are_those_that_diffusers_fuses(
    family: str, checkout: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """diffusers' own loader and fusing on one side, ComfyUI's on the other; in half precision on disk."""
    network: Any = network_of(family)
    layers = [*random_updates(family, network)]
    before = {name: network.get_submodule(name).weight.detach().clone() for name in layers}
    half = tmp_path / "half.safetensors"
    convert.convert(diffusers_file(tmp_path, family, network), "diffusers", half, dtype="bfloat16")
    network.load_lora_adapter(load_file(half), prefix=FAMILIES[family].component)
    network.fuse_lora()
    network.unload_lora()
    wanted = {name: network.get_submodule(name).weight.detach() - before[name] for name in layers}
    error = largest_error(family, changes_in_comfyui(checkout, family, convert.for_comfyui(half) or half), wanted)
    record_property("largest relative error", error)
    print(f"ComfyUI {version(checkout)}, {family}: {len(wanted)} layers, largest relative error {error:.1e}")
    assert error <= 1e-3


@pytest.mark.parametrize("family", TRIED)
def test_the_stored_tables_hold_only_what_comfyui_takes(family: str, checkout: Path) -> None:
    assert keys.comfyui(family) <= {name for names in tables(checkout)[family].values() for name in names}


def test_it_is_known_which_families_a_release_lacks(comfyui: Path) -> None:
    assert set(TRIED) - set(tables(comfyui)) == LACKING.get(version(comfyui), set())


def table(family: str) -> str:
    """The text of one table: what every checkout that has the family takes."""
    found = {version(each): tables(each)[family] for each in CHECKOUTS if family in tables(each)}
    common = set.intersection(*({name for names in models.values() for name in names} for models in found.values()))
    lines = keys.compress(dict.fromkeys(common, ()))
    return HEAD.format(FAMILIES[family].title, " and ".join(sorted(found))) + "[ComfyUI]\n" + "\n".join(lines) + "\n"


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    for each in TRIED:
        (KEYS / f"{each}.comfyui.txt").write_text(table(each), encoding="utf-8")
