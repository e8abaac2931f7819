"""What this computer is, for somebody who looks or asks for help: quick facts at once, slow ones from a check-up.

Nothing here shows a secret: every text passes `masking`.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

import toolkit
from toolkit import doctor, masking
from toolkit.doctor import Finding
from toolkit.plan import free_bytes, gigabytes
from toolkit.run_folder import cache_root

# What changes how training, downloads or the page behave; a variable that is not set is not listed.
PREFIXES = (
    "PALATE_", "HF_", "HUGGING", "CUDA_", "NVIDIA_", "NCCL_", "PYTORCH_", "TORCH", "ACCELERATE_", "GRADIO_", "TRACKIO_",
    "WANDB_", "OMP_", "MKL_", "TOKENIZERS_", "XDG_CACHE", "SLURM_JOB",
)  # fmt: skip
NAMES = (
    "DO_NOT_TRACK",
    "NO_COLOR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "VIRTUAL_ENV",
    "TMPDIR",
    "LANG",
)
PACKAGES = (*doctor.NEEDED, *doctor.OPTIONAL, "gradio", "huggingface_hub", "pydantic")


@dataclass(frozen=True)
class Place:
    """A folder that grows: where it is, and how much its disk has left, in bytes."""

    name: str
    path: Path
    free: int
    used: int | None = None  # by the folder; None before it was counted


@dataclass(frozen=True)
class Variable:
    """One of the environment's, as it may be shown."""

    name: str
    value: str


@dataclass(frozen=True)
class Gpu:
    """What torch says of one, in bytes; `free` is None when it does not work with this torch."""

    name: str
    memory: int
    free: int | None


@dataclass(frozen=True)
class CheckUp:
    """What takes seconds to find out."""

    findings: tuple[Finding, ...]
    gpus: tuple[Gpu, ...]
    used: Mapping[str, int]  # bytes by place


def places(root: Path, used: Mapping[str, int] | None = None) -> list[Place]:
    """The folders of runs, of downloaded models and of Palate's own cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    found = {"Runs": root, "Model cache": Path(HF_HUB_CACHE), "Palate's cache": cache_root()}
    return [Place(name, path, free_bytes(path), (used or {}).get(name)) for name, path in found.items()]


def memory() -> tuple[int, int]:
    """(available, total) bytes of RAM."""
    found = psutil.virtual_memory()
    return found.available, found.total


def versions() -> dict[str, str]:
    """Palate, Python, the system and the packages that matter; a missing one is said to be so."""
    own = {
        "palate": toolkit.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs",
    }
    return own | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def environment(values: Mapping[str, str] | None = None) -> list[Variable]:
    """The variables that have an effect here, by name. values: this process's when None."""
    given = os.environ if values is None else values
    listed = sorted(name for name in given if name.upper().startswith(PREFIXES) or name.upper() in NAMES)
    return [Variable(masking.mask(name, given), masking.shown(name, given[name], given)) for name in listed]


def check_up(root: Path) -> CheckUp:
    """Ask torch in a child, examine, and count folders. Takes seconds."""
    probed = doctor.probe()
    gpus = tuple(Gpu(gpu["name"], gpu["memory"], gpu.get("free")) for gpu in probed.get("gpus", ()))
    used = {place.name: folder_bytes(place.path) for place in places(root)}
    return CheckUp(tuple(doctor.examine(root, probed=probed)), gpus, used)


def folder_bytes(folder: Path) -> int:
    """What all files below take; links are not followed, and what cannot be read counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except OSError:
                continue
    return total


class CheckUps:
    """The latest check-up, made aside; asking never blocks."""

    def __init__(self, root: Path, make: Callable[[Path], CheckUp] = check_up) -> None:
        """root: the folder of all runs."""
        self._root, self._make, self._lock = root, make, threading.Lock()
        self._latest: CheckUp | None = None
        self._is_running = False

    def glance(self) -> CheckUp | None:
        """The latest; None while the first is being made, which the first glance starts."""
        if self._latest is None:
            self.again()
        return self._latest

    @property
    def is_running(self) -> bool:
        """Whether a newer one is on its way."""
        return self._is_running

    def again(self) -> None:
        """Make another, unless one is being made."""
        with self._lock:
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._latest = self._make(self._root)
        except OSError as error:
            said = f"The check-up broke off: {masking.mask(str(error))}."
            self._latest = CheckUp((Finding("note", "check-up", said),), (), {})
        finally:
            self._is_running = False


def diagnostics(root: Path, latest: CheckUp | None) -> str:
    """All of it as text to hand to somebody: no secret, and no place or name of this computer's owner."""
    lines = [f"{name} {found}" for name, found in versions().items()]
    available, total = memory()
    lines += ["", f"RAM {gigabytes(available)} of {gigabytes(total)} available"]
    for place in places(root, latest.used if latest else None):
        used = "" if place.used is None else f"{gigabytes(place.used)} used, "
        lines.append(f"{place.name}: {used}{gigabytes(place.free)} free on its disk")
    if latest is not None:
        lines += [f"GPU {gpu.name}, {gigabytes(gpu.memory)}" for gpu in latest.gpus]
        lines += ["", *(f"{finding.state:<5} {finding.about:<12} {finding.sentence}" for finding in latest.findings)]
    lines += ["", *(f"{variable.name}={variable.value}" for variable in environment())]
    return without_places("\n".join(lines), root)


def without_places(content: str, root: Path) -> str:
    """The text with secrets masked and this computer's own folders by short names."""
    known = ((str(root), "<runs>"), (str(Path(toolkit.__file__).parents[1]), "<palate>"), (str(Path.home()), "~"))
    for place, short in known:
        content = content.replace(place, short) if len(place) > 1 else content
    return masking.mask(re.sub(r"knows you as \S+;", "knows you;", content))
