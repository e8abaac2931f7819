"""`python -m training plan RECIPE`: what a run needs of memory, time and disk, before a weight is downloaded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from toolkit import prompts
from toolkit.errors import UsageError
from toolkit.loras.convert import readers
from toolkit.plan import free_bytes, gigabytes
from toolkit.recipe import Recipe
from training import blueprint, fitting
from training.rehearsal import LOAD, Findings, Rehearsal

GB = 1e9
CONTEXT_BYTES = 600 * 10**6  # what CUDA and its libraries take before the first tensor: 0.3 to 0.8 GB
FRAGMENTATION = 1.05  # what the caching allocator holds beyond live tensors, with expandable segments
UTILISATION = 0.4  # share of the makers' dense bf16 rate that diffusion transformers reach in eager PyTorch
TERAFLOPS = {  # dense bf16, as the makers state it
    "H200": 989, "H100": 989, "A100": 312, "L40S": 362, "RTX 5090": 210, "RTX 4090": 165, "RTX 3090": 71, "T4": 65,
}  # fmt: skip
RAM_BYTES = 3 * 10**9  # Python with its libraries
PREVIEW_BYTES_PER_PIXEL = 0.25  # webp


@dataclass(frozen=True)
class Machine:
    """The device that a plan is made for."""

    name: str
    memory: float | None  # bytes of one GPU; None where nothing limits it but RAM
    flops_per_second: float
    basis: str  # where the speed comes from


def machine(memory_gb: float | None = None) -> Machine:
    """This machine's GPU, or its CPU; memory_gb plans for a card of that size instead."""
    memory = memory_gb * GB if memory_gb else None
    if not torch.cuda.is_available():
        rate = measured_rate(torch.device("cpu"))
        return Machine("this CPU", memory, rate, "a matrix product measured here just now")
    facts = torch.cuda.get_device_properties(0)
    known = next((rate for name, rate in TERAFLOPS.items() if name in facts.name), None)
    if known is None:
        rate, basis = measured_rate(torch.device("cuda")), "a matrix product measured here just now"
    else:
        rate, basis = known * 1e12 * UTILISATION, f"{UTILISATION:.0%} of the {known} TFLOP/s that its maker states"
    return Machine(facts.name, memory or float(facts.total_memory), rate, basis)


def measured_rate(device: torch.device, seconds: float = 0.3) -> float:
    """Floating-point operations per second of a square matrix product, float32 on a CPU and bfloat16 on a GPU."""
    size, dtype = (512, torch.float32) if device.type == "cpu" else (4096, torch.bfloat16)
    a = torch.randn(size, size, device=device, dtype=dtype)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        (a @ a)[0, 0].item()  # waits for the device
        count += 1
    return 2 * size**3 * count / (time.perf_counter() - begun)


def rehearse(recipe: Recipe) -> Findings:
    """The recipe's phases on fake tensors. An offloaded network is built in place and then taken out of the sums."""
    offloaded = bool(recipe.base.settings.get("offload"))
    if offloaded or recipe.base.settings.get("compile"):
        recipe = fitting.changed(recipe, {f"base.{name}": False for name in ("offload", "compile")})
    with blueprint.weightless():
        found = Rehearsal(recipe).run()
    if offloaded:
        kept = found.network_bytes - 2 * found.largest_layer_bytes  # one layer at work, one on its way
        found.peaks = {name: peak - kept for name, peak in found.peaks.items()}
    return found


def table(recipe: Recipe) -> dict[str, Any]:
    """name of a variant → its phases, and bytes of GPU memory by number of GPUs.

    One rehearsal serves with and without gradient checkpointing. Raises UsageError for a base that has neither
    checkpointing nor quantisation to choose.
    """
    if not {"gradient_checkpointing", "quantisation"} <= set(fitting.settings_of("bases", recipe.base)):
        raise UsageError(f"`{recipe.base.name}` has no variants to compare.", action="Plan it without --table.")
    plain = {"base.gradient_checkpointing": False, "base.quantisation": "none", "base.offload": False}
    rows: dict[str, Findings] = {}
    for weights in ("none", "nf4"):
        name = f"{recipe.base.settings.get('dtype', 'bfloat16') if weights == 'none' else weights} weights"
        with blueprint.weightless():
            rehearsal = Rehearsal(fitting.changed(recipe, plain | {"base.quantisation": weights}))
            without = rehearsal.run()
            rows[name], rows[f"{name}, no checkpointing"] = rehearsal.checkpointed(), without
    return {
        name: {"phases": found.peaks, "needed_bytes": {str(gpus): int(needed(found.on(gpus))) for gpus in (1, 2, 8)}}
        for name, found in rows.items()
    }


def sizes(recipe: Recipe) -> Findings:
    """What is known of a recipe's parts as soon as they are built, without any phase."""
    with blueprint.weightless():
        return Rehearsal(recipe).found


def needed(found: Findings) -> float:
    """Bytes of GPU memory for a run with this peak of live tensors."""
    return found.peak * FRAGMENTATION + CONTEXT_BYTES


def plan(
    recipe: Recipe, *, memory_gb: float | None = None, processes: int = 1, output: Path | None = None, fit: bool = True
) -> dict[str, Any]:
    """Everything that `palate plan` prints. Raises UsageError for a recipe that cannot be built."""
    device = machine(memory_gb)
    found = rehearse(recipe).on(processes)
    budget = recipe.training
    fits = None if device.memory is None else needed(found) <= device.memory
    content = {
        "recipe": recipe.name,
        "phases": found.peaks,
        "peak_bytes": found.peak,
        "needed_bytes": int(needed(found)),
        "parts": {
            "network": found.network_bytes,
            "text encoders": found.text_bytes,
            "rewards": found.reward_bytes,
            "LoRA": found.lora_bytes,
        },
        "device": {"name": device.name, "memory_bytes": device.memory, "fits": fits},
        "processes": processes,
        "batch": {
            "per_device": budget.batch_size,
            "accumulation": budget.gradient_accumulation,
            "effective": budget.batch_size * budget.gradient_accumulation * processes,
        },
        "time": duration(recipe, found, device),
        "disk": disk(recipe, found, output or Path.cwd()),
        "ram_bytes": ram(found),
        "fit": None,
    }
    if fit and fits is False and device.memory is not None:
        content["fit"] = fitting.first_fit(recipe, found, device.memory, lambda r: rehearse(r).on(processes), needed)
    return content


def duration(recipe: Recipe, found: Findings, device: Machine) -> dict[str, Any]:
    """Seconds by counted operations over the device's rate: an estimate."""
    checks = recipe.training.updates // recipe.validation.every + 1
    operations = found.update_flops * recipe.training.updates + found.check_flops * checks
    return {
        "update_flops": found.update_flops,
        "seconds_per_update": found.update_flops / device.flops_per_second,
        "seconds": operations / device.flops_per_second,
        "basis": f"{device.name}, {device.basis}",
        "known_cards": {
            name: found.update_flops / (rate * 1e12 * UTILISATION) for name, rate in TERAFLOPS.items()
        },
    }  # fmt: skip


def disk(recipe: Recipe, found: Findings, output: Path) -> dict[str, Any]:
    """Bytes by what takes them, and what is free where the run would lie."""
    width, height = found.picture
    checks = recipe.training.updates // recipe.validation.every + 1
    width_of = {"float32": 4, "float16": 2, "bfloat16": 2}[recipe.lora.file_dtype]
    texts = sum(len(prompts.read(source)) for source in (recipe.prompts.train, recipe.prompts.validation))
    run = {
        # besides the newest: the best, what an alarm would leave, and one being written
        "checkpoints": 3 * found.lora_bytes * (recipe.training.keep_checkpoints + 3),
        "lora": found.lora_bytes * width_of // 4 * len(readers(recipe.base.name)),
        "previews": int(checks * recipe.validation.previews * width * height * PREVIEW_BYTES_PER_PIXEL),
        "text_cache": found.conditioning_bytes * texts if found.has_text_cache else 0,
    }
    return {**run, "run": sum(run.values()), "weights": found.published_bytes, "free": free_bytes(output)}


def ram(found: Findings) -> int:
    """Weights pass through RAM on their way to the GPU, the text encoders after the rest has left."""
    return max(found.network_bytes, found.text_bytes) + RAM_BYTES


def refuse_what_does_not_fit(recipe: Recipe, device: torch.device, output: Path, processes: int = 1) -> None:
    """Before a run loads anything: UsageError when the disk, the GPU's memory or the computer's is too small for it."""
    if device.type != "cuda":
        refuse_a_small_disk(disk(recipe, sizes(recipe), output), output)
        return
    found = rehearse(recipe).on(processes)
    refuse_a_small_disk(disk(recipe, found, output), output)
    free, _ = torch.cuda.mem_get_info(device)
    if needed(found) > free:
        raise UsageError(
            f"This run needs about {needed(found) / GB:.1f} GB of GPU memory in the phase `{found.peak_phase}`, "
            f"{free / GB:.1f} GB are free.",
            cause=f"{found.peaks[LOAD] / GB:.1f} GB are the weights alone.",
            action="`palate plan` names the settings that make it fit.",
        )
    available = psutil.virtual_memory().available
    if ram(found) > available:
        raise UsageError(
            f"Loading needs about {ram(found) / GB:.0f} GB of RAM, {available / GB:.0f} GB are available.",
            action="Close programs, add swap, or use pre-quantised weights.",
        )


def refuse_a_small_disk(disk: Mapping[str, Any], run: Path) -> None:
    """UsageError when a run writes more than is free, beside what it has written already."""
    written = sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
    if disk["run"] - written > disk["free"]:
        raise UsageError(
            f"The run writes about {gigabytes(disk['run'])}, {gigabytes(disk['free'])} are free where it lies.",
            cause=f"Checkpoints take {gigabytes(disk['checkpoints'])} of it.",
            action="Free some space, choose another disk with --output, or lower `training.keep_checkpoints`.",
        )
