"""Where Demo World files lie: ComfyUI's `models/palate` and what `extra_model_paths.yaml` adds."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ..named_files import SUFFIX, NamedFiles
from .header import FOLDER

FILES = NamedFiles(
    FOLDER,
    "Demo World",
    f"`{{name}}` is not in models/{FOLDER}. `palate demo --export-comfyui` with ComfyUI's folder writes the Demo World "
    "there; then press R to refresh the list.",
)


def _register() -> None:
    ours = str(Path(folder_paths.models_dir) / FOLDER)
    paths, _ = folder_paths.folder_names_and_paths.get(FOLDER, ([], set()))
    folder_paths.folder_names_and_paths[FOLDER] = (paths if ours in paths else [*paths, ours], {SUFFIX})


_register()
