"""Do the guards cry wolf, and do they see the wolf? Twelve healthy runs and six bad ones on the demo world.

    python benchmarks/guard_runs.py --output runs/guards

A healthy run counts as a false alarm when its verdict names a guard. A bad run must be named, and the checkpoint it
keeps must not be worse than the base by the second reward on the test prompts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from demo_runs import Job, markdown, report, run, verdict

from toolkit.run_folder import RunFolder

HEALTHY = (("3d render", "line art"), ("3d render", "flat icon"), ("cartoon", "line art"), ("flat icon", "line art"))
SEEDS = (42, 43, 44)
BAD = {
    "learning rate 1e-3": ("demo", ("optimizer.learning_rate=0.001", "training.updates=200")),
    "no augmentation": (
        "demo",
        ("method.augmentation=0", "method.inversion=0", "optimizer.learning_rate=0.001", "training.updates=200"),
    ),
    "late sigma only": (
        "demo",
        ("method.sigma_low=0.02", "method.sigma_high=0.3", "optimizer.learning_rate=0.002", "training.updates=200"),
    ),
    "unsafe ReFL": (
        "demo-refl",
        ("method.augmentation=0", "optimizer.learning_rate=0.001", "training.updates=200"),
    ),
    "darkness": (
        "demo",
        ("words={positive: dark, negative: bright}", "optimizer.learning_rate=0.0005", "training.updates=200"),
    ),
    "identical words": ("demo", ("words={positive: 3d render, negative: a 3d render}",)),
}


def main() -> None:
    """Train what is not there yet, then print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows = [["run", "verdict", "alarm", "second reward, base → kept"]]
    for positive, negative in HEALTHY:
        for seed in SEEDS:
            words = f"words={{positive: {positive}, negative: {negative}}}"
            name = f"{positive} / {negative}, seed {seed}"
            job = Job(
                "demo", (words, f"training.seed={seed}"), options.output / name.replace(" / ", "-").replace(" ", "_")
            )
            rows.append(_row(name, run(job)))
    for name, (recipe, settings) in BAD.items():
        rows.append(_row(f"bad: {name}", run(Job(recipe, settings, options.output / f"bad-{name.replace(' ', '_')}"))))
    print(markdown(rows))


def _row(name: str, finished: RunFolder) -> list[str]:
    said = verdict(finished)
    kept = ""
    if finished.lora_files():
        table = report(finished)
        kept = f"{table['base']['second']:+.3f} → {table['aligned']['second']:+.3f}"
    return [name, said["sentence"], "yes" if said["alarms"] else "no", kept]


if __name__ == "__main__":
    main()
