"""Do the guards cry wolf, and do they see the wolf? Twelve healthy runs and six bad ones on the demo world.

    python benchmarks/guard_runs.py --output runs/guards

A healthy run counts as a false alarm when its verdict names a guard. A bad run must be named, and the checkpoint it
keeps must not be worse than the base, by the second reward and by subject R@5 on the test prompts.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from demo_runs import Job, report, run, verdict

from toolkit.bench.page import markdown
from toolkit.run_folder import RunFolder

HEALTHY = (("3d render", "line art"), ("3d render", "flat icon"), ("cartoon", "line art"), ("flat icon", "line art"))
SEEDS = (42, 43, 44)
BAD_SEEDS = (46, 47)  # untouched when the rule of what is kept after an alarm was fixed (on 7, 42 and 45)
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
    rows = [["run", "verdict", "alarm", "second reward, base → kept", "subject R@5, base → kept"]]
    for positive, negative in HEALTHY:
        for seed in SEEDS:
            words = f"words={{positive: {positive}, negative: {negative}}}"
            name = f"{positive} / {negative}, seed {seed}"
            job = Job(
                "demo", (words, f"training.seed={seed}"), options.output / name.replace(" / ", "-").replace(" ", "_")
            )
            rows.append(_row(name, run(job)))
    for name, (recipe, settings) in BAD.items():
        for seed in BAD_SEEDS:
            folder = options.output / f"bad-{name.replace(' ', '_')}-{seed}"
            rows.append(
                _row(f"bad: {name}, seed {seed}", run(Job(recipe, (*settings, f"training.seed={seed}"), folder)))
            )
    print(markdown(rows))


def _row(name: str, finished: RunFolder) -> list[str]:
    said = verdict(finished)
    second, recall = "the base is kept", ""
    if said["best"]:
        table = report(finished)
        second, recall = (_change(table, key) for key in ("second", "recall"))
    return [name, said["sentence"], "yes" if said["alarms"] else "no", second, recall]


def _change(table: dict[str, Any], key: str) -> str:
    return f"{table['base'][key]:+.3f} → {table['aligned'][key]:+.3f}"


if __name__ == "__main__":
    main()
