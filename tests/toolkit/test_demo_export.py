"""The embedded model for ComfyUI: every weight in its place, the same bytes each time, plain words where it fails."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load, load_file

from comfy_nodes.demo_world import header
from toolkit.demo_export import describe, export, file_bytes, folder_in, original
from toolkit.errors import PalateError, UsageError

WEIGHTS = Path(str(files("demo_world") / "weights"))


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    (tmp_path / "ComfyUI" / "models").mkdir(parents=True)
    return tmp_path / "ComfyUI"


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return load(file_bytes(WEIGHTS))


@pytest.fixture(scope="module")
def network() -> dict[str, np.ndarray]:
    return load_file(WEIGHTS / "transformer" / "diffusion_pytorch_model.safetensors")


def test_the_file_lies_where_the_node_looks_and_nothing_beside_it(comfyui: Path) -> None:
    path = export(comfyui)
    assert path == comfyui / "models" / "palate" / "palate_demo_world.safetensors"
    assert [*path.parent.iterdir()] == [path]
    assert export(path.parent) == path  # the folder itself is understood too


def test_the_command_writes_it_and_trains_nothing(comfyui: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = call("demo", "--export-comfyui", str(comfyui))
    assert code == 0
    assert out.startswith("The embedded model for ComfyUI: ComfyUI/models/palate/palate_demo_world.safetensors\n")
    assert [path.name for path in comfyui.parent.iterdir()] == ["ComfyUI"]
    code, _, err = call("demo", "--export-comfyui", str(comfyui.parent / "elsewhere"))
    assert (code, "is not ComfyUI's folder" in err) == (2, True)


def test_the_same_bytes_each_time() -> None:
    """The library's own order of metadata changes from process to process."""
    code = (
        "import hashlib, pathlib, sys; from toolkit.demo_export import file_bytes; "
        "print(hashlib.sha256(file_bytes(pathlib.Path(sys.argv[1]))).hexdigest(), 'torch' in sys.modules)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code, str(WEIGHTS)], cwd=Path(header.__file__).parents[2],
            capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    }  # fmt: skip
    assert len(said) == 1
    assert said.pop().split()[1] == "False"


def test_every_weight_is_there_once_and_none_is_changed(tensors: dict[str, np.ndarray]) -> None:
    sources = [
        load_file(path)
        for part in ("transformer", "text_encoder", "vae")
        for path in (WEIGHTS / part).glob("*.safetensors")
    ]
    assert sum(t.size for t in tensors.values()) == sum(t.size for source in sources for t in source.values())
    assert {str(t.dtype) for t in tensors.values()} == {"float16"}
    written, shipped = (
        np.bincount(np.concatenate([t.ravel() for t in each]).view(np.uint16), minlength=1 << 16)
        for each in (tensors.values(), [t for source in sources for t in source.values()])
    )
    np.testing.assert_array_equal(written, shipped)  # every value as often, to the bit


def test_slices_are_put_together_in_the_order_of_the_original(
    tensors: dict[str, np.ndarray], network: dict[str, np.ndarray]
) -> None:
    def single(name: str) -> np.ndarray:
        return network[f"single_transformer_blocks.3.{name}.bias"]

    wanted = [single("attn.to_q"), single("attn.to_k"), single("attn.to_v"), single("proj_mlp")]
    np.testing.assert_array_equal(tensors["diffusion_model.single_blocks.3.linear1.bias"], np.concatenate(wanted))
    qkv = [network[f"transformer_blocks.1.attn.add_{part}_proj.weight"] for part in "qkv"]
    np.testing.assert_array_equal(tensors["diffusion_model.double_blocks.1.txt_attn.qkv.weight"], np.concatenate(qkv))
    scale = network["transformer_blocks.0.attn.norm_added_k.weight"]
    np.testing.assert_array_equal(tensors["diffusion_model.double_blocks.0.txt_attn.norm.key_norm.scale"], scale)


def test_the_last_modulation_is_shift_before_scale(
    tensors: dict[str, np.ndarray], network: dict[str, np.ndarray]
) -> None:
    scale, shift = np.split(network["norm_out.linear.bias"], 2)
    found = tensors["diffusion_model.final_layer.adaLN_modulation.1.bias"]
    np.testing.assert_array_equal(found, np.concatenate([shift, scale]))


def test_the_header_says_how_to_build_the_parts(comfyui: Path) -> None:
    with safe_open(export(comfyui), "np") as file:
        found = header.read(file.metadata())
    assert found == describe(WEIGHTS)
    assert (found.network["hidden_size"], found.network["depth"], found.network["depth_single_blocks"]) == (128, 2, 6)
    assert json.loads(found.tokenizer)["model"]["type"] == "BPE"


def test_missing_rows_and_unknown_layers_are_named(network: dict[str, np.ndarray]) -> None:
    lacking = {name: tensor for name, tensor in network.items() if name != "transformer_blocks.0.attn.to_k.weight"}
    with pytest.raises(PalateError, match=r"Rows of `double_blocks\.0\.img_attn\.qkv\.weight` are missing"):
        original(lacking)
    with pytest.raises(PalateError, match=r"`controlnet\.weight` has no place"):
        original({**network, "controlnet.weight": network["x_embedder.weight"]})


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not ComfyUI's folder: there is no `models` in it"):
        folder_in(tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_cannot_be_written_is_refused_with_a_sentence(comfyui: Path) -> None:
    (comfyui / "models" / "palate").write_text("a file stands where the folder should be")
    with pytest.raises(UsageError, match=r"cannot be written: .*Give a folder that you may write to"):
        export(comfyui)


def test_a_failed_write_leaves_the_old_file_whole(comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(comfyui)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        export(comfyui)
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_an_incomplete_installation_is_named(tmp_path: Path) -> None:
    shutil.copytree(WEIGHTS / "vae", tmp_path / "vae")
    with pytest.raises(UsageError, match="The demo base's weights are not in"):
        file_bytes(tmp_path)


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        (None, "not a Demo World file"),
        ({"palate": "{}"}, "not a Demo World file"),
        ({header.KEY: "{"}, "cannot be read"),
        ({header.KEY: "[]"}, "cannot be read"),
        ({header.KEY: json.dumps({"version": 2})}, "another version"),
        ({header.KEY: json.dumps({"version": 1})}, "cannot be read"),
    ],
)
def test_foreign_headers_are_refused_with_a_sentence(metadata: dict[str, str] | None, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        header.read(metadata)


@pytest.mark.parametrize("forged", [1 << 40, -1])
def test_forged_sizes_are_refused_before_anything_is_built(forged: int) -> None:
    content = json.loads(describe(WEIGHTS).to_metadata()[header.KEY])
    content["network"]["hidden_size"] = forged
    with pytest.raises(ValueError, match=f"`hidden_size` is {forged}"):
        header.read({header.KEY: json.dumps(content)})
    content["network"]["hidden_size"], content["autoencoder"]["channels"] = 128, [16, forged]
    with pytest.raises(ValueError, match=f"`channels` is {forged}"):
        header.read({header.KEY: json.dumps(content)})
