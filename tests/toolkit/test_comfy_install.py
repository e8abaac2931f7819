"""`palate comfy install`: a link or a copy in custom_nodes, and a refusal in words for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit import comfy_install
from toolkit.errors import UsageError

PACK = Path(comfy_install.__file__).parents[1] / "comfy_nodes"


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """A folder that looks like one."""
    folder = tmp_path / "ComfyUI"
    (folder / "comfy").mkdir(parents=True)
    for name in ("main.py", "nodes.py", "folder_paths.py"):
        (folder / name).touch()
    return folder


def test_a_link_by_default(comfyui: Path, call) -> None:
    code, out, err = call("comfy", "install", str(comfyui))
    place = comfyui / "custom_nodes" / "palate"
    assert (code, err) == (0, "")
    assert out == f"Linked to {place}. Restart ComfyUI; the nodes are below “preference/lora”.\n"
    assert place.is_symlink()
    assert place.resolve() == PACK.resolve()


def test_a_copy_stands_alone(comfyui: Path, call) -> None:
    code, out, _ = call("comfy", "install", str(comfyui), "--copy")
    place = comfyui / "custom_nodes" / "palate"
    assert code == 0
    assert out.startswith("Copied to ")
    assert not place.is_symlink()
    copied = {path.relative_to(place) for path in place.rglob("*") if path.is_file()}
    wanted = {path.relative_to(PACK) for path in PACK.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert copied == wanted


def test_it_can_be_repeated_and_changed(comfyui: Path) -> None:
    place, copied = comfy_install.install(comfyui, copy=True)
    assert copied
    (place / "old.py").touch()
    assert comfy_install.install(comfyui, copy=True) == (place, True)
    assert not (place / "old.py").exists()
    assert comfy_install.install(comfyui) == (place, False)
    assert comfy_install.install(comfyui) == (place, False)
    assert (PACK / "__init__.py").is_file()


def test_where_links_are_not_allowed_it_is_copied(comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    place, copied = comfy_install.install(comfyui)
    assert copied
    assert (place / "header.py").is_file()


def test_what_is_no_comfyui_is_refused_in_a_sentence(tmp_path: Path, call) -> None:
    code, _, err = call("comfy", "install", str(tmp_path))
    assert code == 2
    assert err.startswith(f"palate: `{tmp_path}` is no ComfyUI: it has no main.py.")
    assert list(tmp_path.iterdir()) == []
    code, _, err = call("comfy", "install", str(tmp_path / "absent"))
    assert (code, "is no ComfyUI" in err) == (2, True)


def test_somebody_elses_folder_is_left_alone(comfyui: Path) -> None:
    other = comfyui / "custom_nodes" / "palate"
    other.mkdir(parents=True)
    (other / "pyproject.toml").write_text('[project]\nname = "other"\n')
    with pytest.raises(UsageError, match="is not this pack"):
        comfy_install.install(comfyui)
    assert (other / "pyproject.toml").is_file()
