"""Lanes: one per GPU, by its id, or the single lane `cpu` of a machine without one. A run at work leases its lanes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

CPU = "cpu"
SECONDS = 20.0  # nvidia-smi may first have to wake the driver


def discover(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """This machine's lanes. Those that CUDA_VISIBLE_DEVICES names win: who sets it wants no others used."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        named = [part.strip() for part in visible.split(",")]
        named = named[: named.index("-1")] if "-1" in named else named  # CUDA reads no further
        return tuple(dict.fromkeys(filter(None, named))) or (CPU,)
    return _gpus() or (CPU,)


def _gpus() -> tuple[str, ...]:
    """The ids of NVIDIA's GPUs in the order of their slots; asking the driver needs no torch."""
    if not (program := shutil.which("nvidia-smi")):
        return ()
    try:
        asked = subprocess.run(
            [program, "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True, text=True, check=True, timeout=SECONDS,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError):
        return ()
    return tuple(line.strip() for line in asked.stdout.splitlines() if line.strip().isdigit())


def environment(leased: Sequence[str]) -> dict[str, str]:
    """What makes a process see its lanes alone; the CPU's needs nothing."""
    gpus = [lane for lane in leased if lane != CPU]
    # Without the order CUDA counts the fastest GPU first, and nvidia-smi's ids would mean others.
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if gpus else {}


def shown(lane: str) -> str:
    """A lane for people: `GPU 0`, `CPU`."""
    return "CPU" if lane == CPU else f"GPU {lane}"
