"""A LoRA file says the same things in the same bytes everywhere, holds what was meant, and is never code."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import toolkit
from toolkit import lora_file
from toolkit.errors import PalateError, UsageError
from toolkit.lora_file import Description

HASH = "0" * 64
GOLDEN = {
    "format": "pt",
    "lora_adapter_metadata": '{"transformer.lora_alpha":2,"transformer.r":2,'
    '"transformer.target_modules":["ff.net.0.proj","to_q","to_v"]}',
    "modelspec.architecture": "flux-1-dev/lora",
    "modelspec.hash_sha256": f"0x{HASH}",
    "modelspec.implementation": "diffusers",
    "modelspec.resolution": "64x48",
    "modelspec.sai_model_spec": "1.0.1",
    "modelspec.title": "3d-render",
    "modelspec.trigger_phrase": "3d render, sharp",
    "palate": '{"base":"black-forest-labs/FLUX.1-dev","family":"flux","method":"srpo","recipe_hash":"44556677",'
    '"reward":"demo","reward_hash":"00112233","strength":[0.5,1.0],"update":40,"version":1,"words":['
    '{"negative":"line art","positive":"3d render"},{"negative":"blurry","positive":"sharp"},'
    '{"negative":"flat icon","positive":"3d render"}]}',
    "ss_base_model_version": "flux1",
    "ss_learning_rate": "0.0002",
    "ss_max_train_steps": "100",
    "ss_network_alpha": "2.0",
    "ss_network_dim": "2",
    "ss_network_module": "networks.lora",
    "ss_output_name": "3d-render",
    "ss_sd_model_name": "black-forest-labs/FLUX.1-dev",
    "ss_seed": "42",
    "ss_steps": "40",
    "ss_tag_frequency": '{"style words":{"3d render":1,"sharp":1}}',
    "ss_training_comment": "aligned with srpo",
    "sshs_model_hash": HASH,
    "trained_words": "3d render, sharp",
}


@pytest.fixture
def path(tmp_path: Path, adapter: dict[str, Tensor], description: Description) -> Path:
    lora_file.save(tmp_path / "lora.safetensors", adapter, description)
    return tmp_path / "lora.safetensors"


def test_the_header_says_all_that_readers_look_for_and_nothing_private(path: Path) -> None:
    """Keys as in modelspec 1.0.1, kohya's sd-scripts, diffusers and Lora-Manager; no clock, path or host."""
    entries = lora_file.read_metadata(path)
    digest = entries["sshs_model_hash"]
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    assert {key: value.replace(digest, HASH) for key, value in entries.items()} == GOLDEN
    text = path.read_bytes().decode("latin-1")
    for private in (str(Path.home()), str(path.parent), os.uname().nodename if hasattr(os, "uname") else "?"):
        assert private not in text


def test_without_words_no_trigger_is_invented(adapter: dict[str, Tensor], description: Description) -> None:
    silent = replace(description, header=replace(description.header, words=[]))
    entries = lora_file.metadata(adapter, silent)
    assert set(GOLDEN) - set(entries) == {"modelspec.trigger_phrase", "trained_words", "ss_tag_frequency"}


def test_the_header_is_sorted_aligned_and_shared_with_no_gap(path: Path) -> None:
    file = path.read_bytes()
    (length,) = struct.unpack("<Q", file[:8])
    header = json.loads(file[8 : 8 + length])
    assert length % 8 == 0
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])
    assert [name for name in header if name != "__metadata__"] == sorted(set(header) - {"__metadata__"})
    assert len(file) == 8 + length + max(entry["data_offsets"][1] for entry in header.values() if "dtype" in entry)


def test_what_is_read_back_is_what_was_trained(path: Path, adapter: dict[str, Tensor]) -> None:
    loaded = lora_file.load(path, "transformer")
    assert loaded.keys() == adapter.keys()
    assert all(torch.equal(loaded[name], adapter[name]) for name in adapter)
    header = lora_file.header(path)
    assert header is not None
    assert (header.method, header.update) == ("srpo", 40)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_smaller_precisions_round_once(
    tmp_path: Path, adapter: dict[str, Tensor], description: Description, dtype: str
) -> None:
    lora_file.save(tmp_path / "x.safetensors", adapter, description, dtype=dtype)
    loaded = lora_file.load(tmp_path / "x.safetensors", "transformer")
    assert all(torch.equal(loaded[name], adapter[name].to(getattr(torch, dtype))) for name in adapter)


SCRIPT = """
import sys, torch
from pathlib import Path
from comfy_nodes.header import AlignedLoraHeader
from toolkit.lora_file import Description, save
names = {f"blocks.{i}.{m}.lora_{s}.weight" for i in range(3) for m in ("to_q", "to_k") for s in "AB"}
adapter = {name: torch.full((2, 2), float(len(name))) for name in names}
header = AlignedLoraHeader("srpo", "flux", "x", words=[{"positive": "a", "negative": "b"}])
save(Path(sys.argv[1]), adapter, Description("t", "transformer", "flux-1-dev", "flux1", (8, 8), 2,
     tuple({"to_q", "to_k", "to_v", "ff"}), 1e-4, 3, 1, header))
"""


def test_the_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    """safetensors writes metadata in random order, and peft's target_modules is a set."""
    digests = set()
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.safetensors"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(toolkit.__file__).parents[1])}
        subprocess.run([sys.executable, "-c", SCRIPT, str(path)], check=True, env=environment, timeout=120)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_file_that_was_not_written_as_meant_is_refused(
    tmp_path: Path, adapter: dict[str, Tensor], description: Description, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corrupting(path: Path, content: bytes) -> None:
        path.write_bytes(content[:-4] + b"\x00\x00\x80\x3f")

    monkeypatch.setattr(lora_file.atomic, "write_file", corrupting)
    with pytest.raises(PalateError, match="does not hold what was written"):
        lora_file.save(tmp_path / "x.safetensors", adapter, description)


def test_a_lora_for_another_component_is_refused(tmp_path: Path, adapter: dict[str, Tensor]) -> None:
    save_file({f"unet.{name}": tensor for name, tensor in adapter.items()}, tmp_path / "sdxl.safetensors")
    with pytest.raises(UsageError, match=r"does not begin with `transformer\.`"):
        lora_file.load(tmp_path / "sdxl.safetensors", "transformer")
    assert lora_file.header(tmp_path / "sdxl.safetensors") is None


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.marker,))


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    plain, torchs = tmp_path / "plain.safetensors", tmp_path / "torchs.safetensors"
    plain.write_bytes(pickle.dumps(Payload(marker)))
    torch.save({"transformer.x": Payload(marker)}, torchs)
    for path in (plain, torchs):
        for reading in (lora_file.read_metadata, lora_file.header, lambda path: lora_file.load(path, "transformer")):
            with pytest.raises(UsageError, match="not a readable safetensors file"):
                reading(path)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 64, struct.pack("<Q", 2) + b"{]", b"GIF89a" * 9])
def test_broken_files_are_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"broken\.safetensors. is not a readable safetensors file"):
        lora_file.load(path, "transformer")
    with pytest.raises(UsageError, match="not a readable"):
        lora_file.header(tmp_path / "missing.safetensors")


def test_a_broken_palate_header_is_refused_in_words(path: Path) -> None:
    path.write_bytes(lora_file.with_metadata(path.read_bytes(), {"palate": "not json"}))
    assert len(load_file(path)) == 4
    with pytest.raises(UsageError, match="cannot be read"):
        lora_file.header(path)


def test_names_without_a_layer_are_found() -> None:
    names = ["transformer.a.to_q.lora_A.weight", "transformer.a.to_q.lora_B.weight", "transformer.b.to_k.lora_A.weight"]
    assert lora_file.unmatched(names, ["a.to_q", "b.to_q"], "transformer") == [names[2]]
    assert lora_file.unmatched(names[:2], ["a.to_q"], "unet") == names[:2]
