"""The user's files in one folder of ComfyUI: by name only, .safetensors only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import folder_paths

SUFFIX = ".safetensors"
Stamp = tuple[str, int, int]


@dataclass(frozen=True)
class NamedFiles:
    """`folder` is ComfyUI's name for it, `kind` ours for a file in it; `missing` says what to do when {name} is not."""

    folder: str
    kind: str
    missing: str

    def names(self) -> list[str]:
        """Every file that may be chosen, sub-folders included."""
        return [name for name in folder_paths.get_filename_list(self.folder) if name.endswith(SUFFIX)]

    def path(self, name: str) -> Path:
        """The file of that name. Raises ValueError for a path, another kind and what is missing."""
        pure = (PurePosixPath(name), PureWindowsPath(name))
        if any(each.anchor or ".." in each.parts for each in pure) or "\0" in name:
            raise ValueError(f"Choose a {self.kind} by its name in the list; paths are not taken.")
        if name and not name.endswith(SUFFIX):
            raise ValueError(f"{name} is not a .safetensors file; other kinds can hold programs and are never opened.")
        found = folder_paths.get_full_path(self.folder, name)
        if found is None:
            raise ValueError(self.missing.format(name=name))
        return Path(found)

    def refusal(self, name: str | None) -> bool | str:
        """True for a file that can be read, else the sentence with which the server refuses the prompt."""
        try:
            self.path(name or "")
        except ValueError as error:
            return str(error)
        return True

    def stamp(self, name: str | None) -> Stamp | str:
        """The same as long as the file is the same. ComfyUI compares it to know whether a node must run again."""
        try:
            path = self.path(name or "")
            about_file = path.stat()
        except (ValueError, OSError):
            return f"no file {name}"
        return str(path), about_file.st_mtime_ns, about_file.st_size
