"""Model files that a ComfyUI user already has: found by name in its folders and in those of extra_model_paths.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from toolkit.errors import UsageError, did_you_mean

FOLDERS = ("diffusion_models", "unet", "text_encoders", "clip", "vae", "checkpoints")
EXTRA = "extra_model_paths.yaml"


def find(name: str, comfyui: str | None) -> Path:
    """The file `name`: a path of its own, or a name (sub-folders allowed) below ComfyUI's model folders.

    Raises UsageError with the nearest name that is there.
    """
    direct = Path(name).expanduser()
    if direct.is_file():
        return direct
    roots = list(model_folders(Path(comfyui).expanduser())) if comfyui else []
    for root in roots:
        candidate = (root / name).resolve()
        if candidate.is_file() and candidate.is_relative_to(root.resolve()):
            return candidate
    known = [str(file.relative_to(root)) for root in roots for file in sorted(root.rglob("*.safetensors"))]
    raise UsageError(
        f"There is no model file `{direct.name}`.",
        cause=f"Looked in {len(roots)} model folders of ComfyUI." if roots else "`base.comfyui` is not set.",
        action=did_you_mean(name, known)
        if known
        else "Give the file's full path, or ComfyUI's folder in `base.comfyui`.",
    )


def model_folders(comfyui: Path) -> Iterator[Path]:
    """ComfyUI's own model folders, then the ones of its extra_model_paths.yaml, as far as they exist."""
    named = [comfyui / "models" / folder for folder in FOLDERS]
    named += extra_folders(comfyui / EXTRA)
    yield from (folder for folder in dict.fromkeys(named) if folder.is_dir())


def extra_folders(file: Path) -> list[Path]:
    """Folders that extra_model_paths.yaml names for the kinds of files a base is made of.

    Each section has a `base_path` and, per kind, one folder or several on lines of their own. Raises UsageError for a
    file that is not YAML.
    """
    if not file.is_file():
        return []
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UsageError(
            f"`{file.name}` is not valid YAML.", action="Correct it; ComfyUI cannot read it either."
        ) from error
    folders = []
    for section in content.values():
        if not isinstance(section, dict):
            continue
        base = file.parent / Path(str(section.get("base_path", ""))).expanduser()
        lines = [line for kind in FOLDERS for line in str(section.get(kind) or "").splitlines()]
        folders += [base / Path(line.strip()).expanduser() for line in lines if line.strip()]
    return folders
