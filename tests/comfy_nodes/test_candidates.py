"""Save for Arena: where it writes, that it overwrites nothing, and that Palate reads it."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from comfy_nodes.logic import candidates
from toolkit import pairs
from toolkit.errors import UsageError

HOSTILE = (
    "", " ", ".", "..", "../x", "a/../b", "/etc", "//host/share", "~", "~root/x", "C:", "C:/x", "C:\\x", "\\\\host\\x",
    "a\0b", "a\nb", "a/", "/a", "a//b", ".hidden", "a/.git", "con", "CON.txt", "a/nul", "com1", "LPT9.a.b", "COM¹",
    "conout$", "x.", "x /y", "a/ ", "a|b", "a?b", 'a"b', "a*b", "x\u202egpj", "a\u200bb", "é" * 40, "a" * 65,
    "a/b/c/d/e", "\ud800",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_folder_name_that_could_lie_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not taken"):
        candidates.folder_in(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["arena", "arena/foxes", "Füchse 2", " arena ", "a.b/c-d_e", "console", "com10"])
def test_plain_names_are_folders_in_the_output(tmp_path: Path, name: str) -> None:
    assert candidates.folder_in(tmp_path, name) == tmp_path / name.strip()


@given(st.text(max_size=20))
def test_whatever_is_typed_stays_inside(name: str) -> None:
    root = Path("/output")
    try:
        folder = candidates.folder_in(root, name)
    except ValueError:
        return
    assert root in folder.parents
    assert Path(os.path.normpath(folder)) == folder


def test_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "arena").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is a link to a place outside"):
        candidates.folder_in(tmp_path / "output", "arena/x")
    folder = candidates.folder_in(tmp_path / "output", "other")
    folder.mkdir()
    (folder / candidates.LINES).symlink_to(tmp_path / "elsewhere" / "victim")
    with pytest.raises(OSError):  # noqa: PT011  ELOOP, in the system's own words
        candidates.append(folder, [{"a": 1}])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_nothing_is_overwritten_and_numbers_go_on(tmp_path: Path) -> None:
    for name in ("000007.png", "12.webp", "notes.txt"):
        (tmp_path / name).write_text(name)
    assert candidates.save(tmp_path, ".png", lambda path: path.write_text("new")) == "000013.png"
    assert (tmp_path / "000007.png").read_text() == "000007.png"


def test_many_at_once_get_names_of_their_own(tmp_path: Path) -> None:
    names: list[str] = []

    def work(mark: int) -> None:
        for _ in range(10):
            names.append(candidates.save(tmp_path, ".png", lambda path: path.write_text(str(mark))))
            candidates.append(tmp_path, [{"picture": names[-1], "mark": mark}])

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    lines = [json.loads(line) for line in (tmp_path / candidates.LINES).read_text().splitlines()]
    assert len(set(names)) == len(lines) == 60
    assert all((tmp_path / line["picture"]).read_text() == str(line["mark"]) for line in lines)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        candidates.save(tmp_path, ".png", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_torn_line_stays_alone(tmp_path: Path) -> None:
    (tmp_path / candidates.LINES).write_text('{"picture": "a.png"}\n{"pict')
    candidates.append(tmp_path, [{"picture": "b.png"}, {"picture": "c.png", "prompt": "half a \ud83d letter"}])
    lines = (tmp_path / candidates.LINES).read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ['{"picture": "a.png"}', '{"pict', '{"picture": "b.png"}']
    assert json.loads(lines[3])["prompt"] == "half a ? letter"


@pytest.fixture
def save(comfyui) -> Any:
    """The node as ComfyUI runs it, with a workflow beside it."""
    extension = asyncio.run(comfyui.load().comfy_entrypoint())
    (node,) = [each for each in asyncio.run(extension.get_node_list()) if each.__name__ == "SaveForArena"]
    node.hidden = SimpleNamespace(prompt={"1": "graph"}, extra_pnginfo={"workflow": {"nodes": []}})

    def run(images: torch.Tensor, **inputs: Any) -> Any:
        given = {
            "folder": "arena", "prompt": "a fox", "seed": 7, "model_name": "sdxl", "lora_name": "mine",
            "positive_word": "calm", "negative_word": "loud", "as_clip": False, "fps": 8.0, **inputs,
        }  # fmt: skip
        return node.execute(images, **given)

    return run


def test_pictures_come_back_through_palates_own_import(comfyui, save) -> None:
    images = torch.rand(3, 8, 12, 3, generator=torch.Generator().manual_seed(4))
    shown = save(images).ui
    assert [image["subfolder"] for image in shown["images"]] == ["arena"] * 3
    folder = comfyui.loras.parent / "output" / "arena"
    found = pairs.read("candidates", folder)
    assert found.dropped == {}
    for index, item in enumerate(found.kept):
        assert isinstance(item, pairs.Candidate)
        assert (item.prompt, item.seed, item.index, item.model, item.lora) == ("a fox", 7, index, "sdxl", "mine")
        assert item.words == ("calm", "loud")
        (frame,) = pairs.frames(item.picture)
        assert np.array_equal(np.array(frame), (images[index].numpy() * 255).astype(np.uint8))
        with Image.open(item.picture.path) as image:
            assert image.info == {"prompt": '{"1": "graph"}', "workflow": '{"nodes": []}'}
    save(images, prompt="an owl")
    assert len(pairs.read("candidates", folder).kept) == 6


def test_a_batch_can_be_one_clip(comfyui, save) -> None:
    images = torch.rand(5, 8, 8, 3, generator=torch.Generator().manual_seed(5))
    assert save(images, as_clip=True).ui["animated"] == (True,)
    (item,) = pairs.read("candidates", comfyui.loras.parent / "output" / "arena").kept
    assert isinstance(item, pairs.Candidate)
    assert item.picture.frames == 5
    frames = np.stack([np.array(frame) for frame in pairs.frames(item.picture)])
    assert np.array_equal(frames, (images.numpy() * 255).astype(np.uint8))


def test_no_workflow_is_written_where_the_server_was_told_not_to(comfyui, save, monkeypatch) -> None:
    monkeypatch.setattr("comfy.cli_args.args.disable_metadata", True)
    save(torch.rand(1, 8, 8, 3))
    (file,) = (comfyui.loras.parent / "output" / "arena").glob("*.png")
    with Image.open(file) as image:
        assert image.info == {}


def test_a_folder_elsewhere_is_not_made(comfyui, save) -> None:
    with pytest.raises(ValueError, match="is not taken"):
        save(torch.rand(1, 8, 8, 3), folder="../x")
    assert not (comfyui.loras.parent / "x").exists()
    with pytest.raises(UsageError):
        pairs.read("candidates", comfyui.loras.parent / "loras")
