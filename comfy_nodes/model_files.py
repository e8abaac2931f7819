"""Palate's own models: ComfyUI's `models/palate` and what `extra_model_paths.yaml` adds."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from .header import FOLDER
from .named_files import SUFFIX, NamedFiles


def of_kind(kind: str, remedy: str) -> NamedFiles:
    """The folder's files, to one whose `kind` it wants; `remedy` says how such a file comes there."""
    _register()
    return NamedFiles(
        FOLDER, kind, f"`{{name}}` is not in models/{FOLDER}. {remedy}; then press R to refresh the list."
    )


def _register() -> None:
    ours = str(Path(folder_paths.models_dir) / FOLDER)
    paths, _ = folder_paths.folder_names_and_paths.get(FOLDER, ([], set()))
    folder_paths.folder_names_and_paths[FOLDER] = (paths if ours in paths else [*paths, ours], {SUFFIX})
