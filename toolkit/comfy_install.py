"""The ComfyUI pack into a user's ComfyUI: one link or one copied folder, and nothing of what training needs."""

from __future__ import annotations

import shutil
import tomllib
from importlib.resources import files
from pathlib import Path

from toolkit.errors import UsageError

FOLDER = "palate"  # below custom_nodes
MARKS = ("main.py", "nodes.py", "folder_paths.py", "comfy")  # what every ComfyUI has beside each other


def install(comfyui: Path, *, copy: bool = False) -> tuple[Path, bool]:
    """Put the pack into `comfyui`: (its place, whether it was copied).

    A link follows every update of Palate; where links are not allowed, as for many Windows users, it is copied. An
    earlier link or copy of the pack is replaced. Raises UsageError for what is no ComfyUI, or another's folder.
    """
    missing = [name for name in MARKS if not (comfyui / name).exists()]
    if missing:
        raise UsageError(
            f"`{comfyui}` is no ComfyUI: it has no {missing[0]}.",
            action="Give the folder that holds ComfyUI's main.py; in the portable edition it is called ComfyUI.",
        )
    source = _pack()
    target = comfyui / "custom_nodes" / FOLDER
    _clear(target)
    target.parent.mkdir(exist_ok=True)
    if not copy:
        try:
            target.symlink_to(source, target_is_directory=True)
        except OSError:
            pass  # no right to make links: the copy below
        else:
            return target, False
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target, True


def _pack() -> Path:
    """The pack's folder in this installation."""
    return Path(str(files("comfy_nodes"))).resolve()


def _clear(target: Path) -> None:
    """Remove an earlier link or copy of ours. Raises UsageError for anything else."""
    if target.is_symlink():
        target.unlink()
        return
    if not target.exists():
        return
    if _name(target) != _name(_pack()):
        raise UsageError(
            f"`{target}` is there already and is not this pack.",
            cause="It may be a clone of the whole repository, which brings the same nodes.",
            action="Move it away first, or leave it as it is.",
        )
    shutil.rmtree(target)


def _name(folder: Path) -> str:
    """The name of the pack in a folder, "" when it has none."""
    try:
        return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, KeyError, ValueError):
        return ""
