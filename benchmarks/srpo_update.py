"""One SRPO update on the demo world, Palate beside the straightforward procedure: time, peak memory, same gradients.

    python benchmarks/srpo_update.py [--rounds 10] [--batch-size 8]

Both sides run in turn in one process, same dtype, threads, batch and prompts, nothing compiled. Augmentation is off on
both sides, since the published procedure has none. Memory is measured in one child process per side.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from importlib.resources import files
from pathlib import Path
from typing import cast

import psutil
import straightforward_srpo as straightforward
import torch
from accelerate import Accelerator
from torch import Tensor

from toolkit import recipe
from training import build, rollout
from training.methods.srpo import EDGE, Srpo
from training.trainer import Parts

SIDES = ("palate", "straightforward")
# Relative distance allowed between the two gradients, as a median: now and then a rounding carries one value across a
# kink (a ReLU, a pixel at 0 or 1), in other rounds whenever the order of operations is another.
SAME = 1e-4


def load(batch_size: int) -> tuple[Parts, Srpo]:
    """The demo recipe's parts without augmentation."""
    settings = {"method.augmentation": 0, "method.inversion": 1.0, "training.batch_size": batch_size}
    parts = build.parts(recipe.read(Path(str(files("recipes") / "demo.yaml")), settings), Accelerator(cpu=True))
    with torch.no_grad():
        for name, parameter in parts.policy.trainable().items():
            if "lora_B" in name:
                parameter.normal_(std=0.02, generator=torch.Generator().manual_seed(len(name)))
    return parts, cast(Srpo, parts.method)


def run(side: str, parts: Parts, method: Srpo, number: int) -> straightforward.Phases:
    """One update's gradients with the draws of update `number`."""
    batch, rng = parts.batches.micro_batch(number, 0)
    if side == "straightforward":
        noise = rng.normal("noise", parts.policy.latent_shape)
        return straightforward.update(parts, method, batch, noise, rng.integer("level", EDGE, method.levels - EDGE))
    started = time.perf_counter()
    rolled = Stopwatch()
    for report in method.losses(rolled.watch(parts), parts.reward, batch, rng):
        report.loss.backward()
    return straightforward.Phases(rolled.seconds, time.perf_counter() - started - rolled.seconds)


class Stopwatch:
    """Times the rollout inside `losses`, through the context that folds the LoRA in."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, parts: Parts):
        """The policy with `folded` timed."""
        policy, original = parts.policy, type(parts.policy).folded
        outer = self

        class Timed:
            def __enter__(self) -> None:
                self.started = time.perf_counter()
                self.inner = original(policy)
                self.inner.__enter__()

            def __exit__(self, *problem: object) -> None:
                self.inner.__exit__(*problem)
                outer.seconds += time.perf_counter() - self.started

        policy.folded = Timed  # type: ignore[method-assign]
        return policy


class PeakMemory:
    """MB that a block adds to the process at most, sampled every millisecond. The process's own peak would not do:
    loading libraries and weights reaches higher than one update on a model this small."""

    def __enter__(self) -> PeakMemory:
        process = psutil.Process()
        self.done, self.added = threading.Event(), 0.0
        before = process.memory_info().rss

        def watch() -> None:
            while not self.done.wait(0.001):
                self.added = max(self.added, (process.memory_info().rss - before) / 2**20)

        self.watcher = threading.Thread(target=watch)
        self.watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.watcher.join()


def gradients(parts: Parts) -> Tensor:
    """All LoRA gradients as one vector; clears them."""
    parameters = parts.policy.trainable().values()
    flat = torch.cat([cast(Tensor, p.grad).flatten() for p in parameters])
    for parameter in parameters:
        parameter.grad = None
    return flat


def peak_memory(side: str, batch_size: int) -> float:
    """MB that one update adds to a process's peak, measured in a child."""
    command = [sys.executable, __file__, "--memory", side, "--batch-size", str(batch_size)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    """Print rollout and rest apart, both sides and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--memory", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    parts, method = load(options.batch_size)
    if options.memory:
        blank = torch.zeros(1, *parts.policy.latent_shape)
        rollout.sample(parts.policy, blank, parts.policy.base.encode(["a"]), steps=1)
        with PeakMemory() as memory:
            run(options.memory, parts, method, 0)
        print(json.dumps(memory.added))
        return

    differences, phases = [], {side: [] for side in SIDES}
    for number in range(options.rounds + 1):
        vectors = {}
        for side in SIDES if number % 2 else SIDES[::-1]:
            measured = run(side, parts, method, number)
            vectors[side] = gradients(parts)
            if number:  # the first round warms up
                phases[side].append(measured)
        difference = (vectors["palate"] - vectors["straightforward"]).norm() / vectors["straightforward"].norm()
        differences.append(float(difference))
    memory = {side: peak_memory(side, options.batch_size) for side in SIDES}

    print(f"SRPO update, batch {options.batch_size}, {torch.get_num_threads()} threads, median of {options.rounds}")
    print(f"{'':16}{'rollout s':>11}{'rest s':>9}{'total s':>9}{'peak MB':>9}")
    medians = {}
    for side in SIDES:
        rows = [(p.rollout, p.rest, p.rollout + p.rest) for p in phases[side]]
        medians[side] = [statistics.median(column) for column in zip(*rows, strict=True)] + [memory[side]]
        print(f"{side:16}{medians[side][0]:11.3f}{medians[side][1]:9.3f}{medians[side][2]:9.3f}{medians[side][3]:9.0f}")
    ratios = [a / b for a, b in zip(medians["straightforward"], medians["palate"], strict=True)]
    print(f"{'ratio':16}{ratios[0]:11.2f}{ratios[1]:9.2f}{ratios[2]:9.2f}{ratios[3]:9.2f}")
    typical = statistics.median(differences)
    print(f"relative difference of the gradients: median {typical:.1e}, largest {max(differences):.1e}")
    if typical > SAME:
        sys.exit(f"the gradients differ by more than {SAME}")


if __name__ == "__main__":
    main()
