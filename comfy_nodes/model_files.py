"""Palate's own models: ComfyUI's `models/palate`, by name only, .safetensors only."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from .header import FOLDER

SUFFIX = ".safetensors"


def names() -> list[str]:
    """Every .safetensors file in the folder and those that `extra_model_paths.yaml` adds."""
    _register()
    return folder_paths.get_filename_list(FOLDER)


def find(name: str, remedy: str) -> str:
    """The path of a listed file. Raises ValueError with a sentence, ending in the remedy, for anything else."""
    known = names()
    if name not in known or not name.endswith(SUFFIX):
        raise ValueError(f"`{name}` is not in models/{FOLDER}. {remedy}; then press R to refresh the list.")
    return folder_paths.get_full_path_or_raise(FOLDER, name)


def stamp(path: str) -> tuple[str, int, int]:
    """The same as long as the file is the same."""
    found = Path(path).stat()
    return path, found.st_mtime_ns, found.st_size


def _register() -> None:
    ours = str(Path(folder_paths.models_dir) / FOLDER)
    paths, _ = folder_paths.folder_names_and_paths.get(FOLDER, ([], set()))
    folder_paths.folder_names_and_paths[FOLDER] = (paths if ours in paths else [*paths, ours], {SUFFIX})
