"""The metadata contract between the trainer and the ComfyUI pack."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from comfy_nodes import header
from comfy_nodes.header import AlignedLoraHeader

FULL = AlignedLoraHeader(
    method="srpo",
    family="flux",
    base="black-forest-labs/FLUX.1-dev",
    words=[{"positive": "realistic photo", "negative": "CG 渲染"}],
    reward="hps",
    reward_hash="0123456789abcdef",
    strength=(0.4, 1.2),
    recipe_hash="fedcba9876543210",
    update=40,
)


def test_a_header_comes_back_as_it_was() -> None:
    assert header.read(FULL.to_metadata()) == FULL
    assert header.read(AlignedLoraHeader("refl", "demo", "x").to_metadata()) == AlignedLoraHeader("refl", "demo", "x")


def test_the_bytes_are_known() -> None:
    assert FULL.to_metadata() == {
        "palate": '{"base":"black-forest-labs/FLUX.1-dev","family":"flux","method":"srpo",'
        '"recipe_hash":"fedcba9876543210","reward":"hps","reward_hash":"0123456789abcdef","strength":[0.4,1.2],'
        '"update":40,"version":1,"words":[{"negative":"CG 渲染","positive":"realistic photo"}]}'
    }


def test_somebody_elses_file_has_none() -> None:
    assert header.read(None) is None
    assert header.read({}) is None
    assert header.read({"format": "pt", "ss_network_dim": "16"}) is None


def test_fields_of_a_newer_version_are_ignored() -> None:
    content = json.loads(FULL.to_metadata()["palate"])
    newer = {**content, "version": 9, "moods": ["calm"], "strength": [0.1, 2]}
    read = header.read({"palate": json.dumps(newer)})
    assert read is not None
    assert (read.method, read.version, read.strength) == ("srpo", 9, (0.1, 2.0))


def test_fields_an_older_version_lacked_have_defaults() -> None:
    read = header.read({"palate": '{"method": "srpo", "family": "flux", "base": "x"}'})
    assert read == AlignedLoraHeader("srpo", "flux", "x")


@pytest.mark.parametrize(
    "text",
    ["", "nothing", "[]", "5", "null", '{"method": "srpo"}', '{"method":"a","family":"b","base":"c","strength":[1]}',
     '{"method":"a","family":"b","base":"c","strength":["x",2]}',
     *(f'{{"method":"a","family":"b","base":"c","strength":{value}}}' for value in (
         '"12"', '["1", "2"]', "[true, 2]", "[1, 2, 3]", '{"1": 0, "2": 0}', "[NaN, 1]", "[0, 1e999]", "null"))],
)  # fmt: skip
def test_a_broken_header_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="`palate` header of this LoRA cannot be read"):
        header.read({"palate": text})


def test_it_loads_with_nothing_but_the_standard_library() -> None:
    """ComfyUI brings its own Python; -I -S hides everything that was installed into this one."""
    root = Path(header.__file__).parents[1]
    code = f"import sys; sys.path.append({str(root)!r}); import comfy_nodes.header; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr
    loaded = {name.split(".")[0] for name in result.stdout.split()} - {"__main__", "comfy_nodes"}
    assert loaded - sys.stdlib_module_names == set()
