"""SRPO, Direct-Align and ReFL on the demo world at the same budget, three seeds each; prints a table.

    python benchmarks/matched_budget.py --output runs/matched [--seeds 3]

All figures are on the 72 test prompts x 2 seeds that no run, guard or choice has seen. Nothing is a best-of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from demo_runs import Job, report, run, spread, verdict

from toolkit.bench.page import markdown

RECIPES = {"SRPO": "demo", "Direct-Align": "demo-direct-align", "ReFL": "demo-refl"}
COLUMNS = (
    ("trained reward", "reward"),
    ("second reward", "second"),
    ("judge, positive style", "judge_positive"),
    ("judge, negative style", "judge_negative"),
    ("subject R@5", "recall"),
    ("diversity", "diversity"),
)


def main() -> None:
    """Train what is not there yet, then print one row per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rows = [["method", *(title for title, _ in COLUMNS), "training s", "best update"]]
    for name, recipe in RECIPES.items():
        jobs = [
            Job(recipe, (f"training.seed={42 + n}",), options.output / f"{recipe}-{n}") for n in range(options.seeds)
        ]
        finished = [run(job) for job in jobs]
        tables = [report(done) for done in finished]
        if name == "SRPO":
            rows.append(["base", *(spread(t["base"][key] for t in tables) for _, key in COLUMNS), "", ""])
        seconds = [sum(e["seconds"] for e in done.events("update")) for done in finished]
        best = ", ".join(str(verdict(done)["best"]) for done in finished)
        rows.append([name, *(spread(t["aligned"][key] for t in tables) for _, key in COLUMNS), spread(seconds), best])
    print(markdown(rows))


if __name__ == "__main__":
    main()
