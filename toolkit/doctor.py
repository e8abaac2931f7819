"""`palate doctor`: what this computer brings to training, in plain sentences. Torch answers from a child process."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import psutil

from toolkit import catalogue, hub_access, launch
from toolkit.errors import UsageError
from toolkit.plan import LEAST_FREE_BYTES, free_bytes, gigabytes

OLDEST = (3, 11)
NEEDED = ("torch", "diffusers", "transformers", "accelerate", "peft", "open_clip_torch", "safetensors")
OPTIONAL = {"torchao": "int8 weights", "bitsandbytes": "nf4 and int8 weights on a GPU", "trackio": "the trackio mirror"}
PROBE = """
import json, torch
found = {"version": torch.__version__, "cuda": torch.version.cuda, "available": torch.cuda.is_available(), "gpus": []}
for number in range(torch.cuda.device_count() if found["available"] else 0):
    facts = torch.cuda.get_device_properties(number)
    gpu = {"name": facts.name, "memory": facts.total_memory, "bf16": torch.cuda.is_bf16_supported(), "works": True}
    try:
        gpu["free"] = torch.cuda.mem_get_info(number)[0]
        torch.ones(2, device=f"cuda:{number}").sum().item()
    except RuntimeError as error:
        gpu |= {"works": False, "error": str(error).splitlines()[0]}
    found["gpus"].append(gpu)
print(json.dumps(found))
"""
PROBE_SECONDS = 120.0
State = Literal["ok", "note", "stop"]


@dataclass(frozen=True)
class Finding:
    """One sentence; `stop` prevents training, `note` does not."""

    state: State
    about: str
    sentence: str


def examine(output: Path, *, online: bool = False, probed: dict[str, Any] | None = None) -> list[Finding]:
    """Everything worth saying about this computer.

    online: also whether the bases' licences are accepted; probed: what `probe` has said already.
    """
    return [
        *python(sys.version_info[:3]), *packages(), *torch_build(probed or probe()), *memory(), *disk(output),
        *token(), *(licences() if online else ()),
    ]  # fmt: skip


def python(found: tuple[int, ...]) -> Iterator[Finding]:
    """The interpreter."""
    said = ".".join(map(str, found))
    if found[:2] < OLDEST:
        yield Finding("stop", "python", f"Python {said} is too old. Palate needs {OLDEST[0]}.{OLDEST[1]} or newer.")
    else:
        yield Finding("ok", "python", f"Python {said} on {platform.system()} {platform.machine()}.")


def packages() -> Iterator[Finding]:
    """What training imports, and what it can do without."""
    missing = [name for name in NEEDED if _version(name) is None]
    if missing:
        yield Finding("stop", "packages", f"Not installed: {', '.join(missing)}. Run `pip install -e .` again.")
    else:
        yield Finding("ok", "packages", ", ".join(f"{name} {_version(name)}" for name in NEEDED) + ".")
    for name, purpose in OPTIONAL.items():
        found = _version(name)
        yield (
            Finding("note", name, f"{name} {found}: {purpose}.")
            if found
            else Finding("note", name, f"{name} is not installed; it is for {purpose}. pip install {name}")
        )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def probe() -> dict[str, Any]:
    """What torch says of itself and of the GPUs, from a process of its own; {"error": …} when it cannot even start."""
    try:
        child = subprocess.run(
            [sys.executable, "-c", PROBE], env=launch.environment(), capture_output=True, text=True, check=False,
            timeout=PROBE_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"it did not answer within {PROBE_SECONDS:.0f} seconds"}
    if child.returncode != 0:
        return {"error": (child.stderr.strip().splitlines() or ["it ended without a word"])[-1]}
    return json.loads(child.stdout.strip().splitlines()[-1])


def torch_build(found: dict[str, Any]) -> Iterator[Finding]:
    """The build, and whether it drives the GPUs."""
    if "error" in found:
        yield Finding("stop", "torch", f"PyTorch cannot be loaded: {found['error']}. Install it again.")
        return
    build = f"CUDA {found['cuda']}" if found["cuda"] else "CPU only"
    yield Finding("ok", "torch", f"PyTorch {found['version']} ({build}).")
    driver = nvidia_driver()
    for gpu in found["gpus"]:
        facts = f"{gpu['name']}, {gigabytes(gpu['memory'])}" + (f", driver {driver}" if driver else "")
        if not gpu["works"]:
            yield Finding("stop", "gpu", f"{facts}: your PyTorch build does not support this GPU ({gpu['error']}).")
        elif not gpu["bf16"]:
            yield Finding("note", "gpu", f"{facts}. It has no bfloat16: large bases will be slow or impossible.")
        else:
            yield Finding("ok", "gpu", f"{facts}.")
    if found["gpus"]:
        return
    if driver and found["cuda"]:
        yield Finding("stop", "gpu", f"A GPU is there (driver {driver}), but PyTorch cannot use it: update the driver.")
    elif driver:
        yield Finding("stop", "gpu", f"A GPU is there (driver {driver}), but this PyTorch was built for CPUs only.")
    else:
        yield Finding("note", "gpu", "No GPU was found. The demo trains on the CPU; full-size bases need a GPU.")


def nvidia_driver() -> str:
    """The version of NVIDIA's driver, empty where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    asked = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    return answer.stdout.strip().splitlines()[0] if answer.returncode == 0 and answer.stdout.strip() else ""


def memory() -> Iterator[Finding]:
    """RAM."""
    found = psutil.virtual_memory()
    said = f"{gigabytes(found.available)} of {gigabytes(found.total)} RAM are available."
    yield Finding("ok" if found.available > 4e9 else "note", "ram", said)


def disk(output: Path) -> Iterator[Finding]:
    """Where runs lie."""
    free = free_bytes(output)
    state: State = "ok" if free >= LEAST_FREE_BYTES else "stop"
    yield Finding(state, "disk", f"{gigabytes(free)} are free where runs are written.")


def token() -> Iterator[Finding]:
    """The Hub's view of this computer; the token itself is never shown."""
    try:
        found = hub_access.token()
    except UsageError as error:
        yield Finding("note", "token", str(error))
        return
    if found is None:
        yield Finding("note", "token", "No Hub token. Gated bases such as FLUX.1-dev need one: `hf auth login`.")
    elif found["role"] == "unknown":
        yield Finding("note", "token", "A Hub token is there; its role could not be asked for.")
    else:
        may = "may publish" if found["role"] == "write" else "may download, publishing needs a token that may write"
        yield Finding(
            "ok", "token", f"The Hub knows you as {found['name']}; the token's role is {found['role']}: {may}."
        )


def licences() -> Iterator[Finding]:
    """Whether the weights of each base, as it is set by default, can be had."""
    if hub_access.is_offline():
        yield Finding("note", "licences", "HF_HUB_OFFLINE=1 is set: licences were not asked for.")
        return
    for name, entry in catalogue.load()["bases"].items():
        weights = entry.defaults().get("weights")
        if not weights:
            continue
        try:
            hub_access.check(weights)
        except UsageError as error:
            yield Finding("note", name, str(error))
        else:
            yield Finding("ok", name, f"`{weights}` is not refused to you.")
