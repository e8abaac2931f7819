"""What the ComfyUI node Load Aligned LoRA costs beside core's LoRA loader, in one real server.

    COMFYUI_PATH=~/ComfyUI python benchmarks/comfy_overhead.py [--rounds 7] [--files 1000]

A FLUX.1 of 0.5 billion random numbers (3072 wide, one block of each kind, float32), a LoRA on all its layers, and per
prompt one network call, so that nothing hides what comes before. Both sides take turns; each prompt has a strength of
its own, so that nothing is cached. Times are the server's own, from the start of a prompt to its end; the processor
time decides, which other programs on the machine disturb least.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import init_empty_weights
from diffusers import FluxTransformer2DModel
from safetensors.torch import save_file

from toolkit.bench.page import markdown

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS / "e2e"), str(TESTS)]  # the tests' server, its nodes and its LoRA files

from conftest import Server, running  # noqa: E402
from tiny.random_loras import diffusers_file  # noqa: E402

MOST, LONGEST = 1.05, 1.0  # of core's time; seconds for the list of nodes
SIDES = {
    "LoraLoaderModelOnly": {},
    "PalateLoadAlignedLora": {"strength_clip": 1.0},
}
FILE = "random.safetensors"


def stock(folder: Path, files: int) -> None:
    """The LoRA, as many more names for it as there shall be files, and the network's inputs."""
    with init_empty_weights():
        network = FluxTransformer2DModel(num_layers=1, num_single_layers=1, guidance_embeds=True)
    loras = folder / "models" / "loras"
    shutil.move(diffusers_file(folder, "flux", network), loras / FILE)
    for number in range(files - 1):
        os.link(loras / FILE, loras / f"style {number:04d}.safetensors")
    generator = torch.Generator().manual_seed(1)
    sizes = {"x": (1, 16, 8, 8), "context": (1, 16, 4096), "y": (1, 768)}
    inputs = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
    save_file({**inputs, "timestep": torch.tensor([0.6]), "guidance": torch.tensor([3.5])}, folder / "inputs")


def workflow(folder: Path, loader: str, strength: float) -> dict[str, Any]:
    """Model, LoRA, one call."""
    lora = {"model": ["model", 0], "lora_name": FILE, "strength_model": strength, **SIDES[loader]}
    call = {"model": ["lora", 0], "inputs": str(folder / "inputs"), "output": str(folder / "answer")}
    return {
        "model": {"class_type": "TestModel", "inputs": {"family": "flux at width", "context": 0}},
        "lora": {"class_type": loader, "inputs": lora},
        "call": {"class_type": "TestForward", "inputs": call},
    }


@dataclass(frozen=True)
class Prompt:
    """Seconds of wall and of the server's processor time, and the nodes that it did not have to run."""

    wall: float
    processor: float
    cached: set[str]


def run(server: Server, graph: dict[str, Any]) -> Prompt:
    """One prompt to its end; asked for seldom, since every answer is work for the server."""
    process = psutil.Process(server.process.pid)
    before = process.cpu_times()
    number = server.submit(graph)["prompt_id"]
    while not (history := server.get(f"/history/{number}")):
        time.sleep(0.5)
    after, done = process.cpu_times(), history[number]["status"]
    if done["status_str"] != "success":
        raise SystemExit(server.text()[-3000:])
    about = dict(done["messages"])
    wall = (about["execution_success"]["timestamp"] - about["execution_start"]["timestamp"]) / 1000
    processor = after.user + after.system - before.user - before.system
    return Prompt(wall, processor, set(about["execution_cached"]["nodes"]))


def listing(server: Server, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds for the list of all nodes, and for those of ours alone, one by one."""
    ours = [name for name, each in server.get("/object_info").items() if each["python_module"] == "custom_nodes.palate"]
    whole, own = [], []
    for _ in range(rounds):
        whole.append(timed(server, ["/object_info"]))
        own.append(timed(server, [f"/object_info/{name}" for name in ours]))
    return whole, own


def timed(server: Server, paths: list[str]) -> float:
    started = time.perf_counter()
    for path in paths:
        server.get(path)
    return time.perf_counter() - started


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    """Print one row per loader, what a second run costs, and the list of nodes; fail beyond the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--files", type=int, default=1000)
    options = parser.parse_args()
    checkout = os.environ.get("COMFYUI_PATH", "").split(os.pathsep)[0]
    if not checkout:
        sys.exit("COMFYUI_PATH does not say where ComfyUI's source is")
    prompts: dict[str, list[Prompt]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as place, running(Path(checkout), Path(place, "comfyui")) as server:
        stock(server.folder, options.files)
        for number in range(options.rounds + 1):
            for side in SIDES if number % 2 else [*SIDES][::-1]:
                graph = workflow(server.folder, side, 1 + number / 1000)
                prompt = run(server, graph)
                if number:  # the first round builds the model and warms up
                    prompts[side].append(prompt)
        again = run(server, graph)
        whole, own = listing(server, options.rounds)
    rows = [
        [side, spread([prompt.processor for prompt in done]), spread([prompt.wall for prompt in done])]
        for side, done in prompts.items()
    ]
    core, palate = (statistics.median(prompt.processor for prompt in done) for done in prompts.values())
    print(markdown([["loader", "processor s a prompt", "wall s a prompt"], *rows]))
    print(f"\nratio {palate / core:.3f}")
    print(f"the same prompt again: {again.wall:.3f} s, {len(again.cached)} of {len(graph)} nodes cached")
    print(f"{options.files} LoRA files, list of nodes: {spread(whole)} s, of which ours: {spread(own)} s")
    if palate > MOST * core or len(again.cached) < len(graph) or statistics.median(whole) > LONGEST:
        sys.exit(f"slower than {MOST} of core's time, run again although nothing changed, or a list above {LONGEST} s")


if __name__ == "__main__":
    main()
