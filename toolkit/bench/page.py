"""The bench's page: methods.md with tables and answers, methods.json with every figure, and the plots."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit import atomic
from toolkit.bench import plots
from toolkit.bench.answers import Answer, answer
from toolkit.bench.figures import ArmFigures, collect
from toolkit.bench.intervals import difference, interval
from toolkit.bench.methods import MethodsBench
from toolkit.bench.question import Figure, Point

BUCKETS = ("accuracy.sigma_", "logit.sigma_")
HEAD = (
    "arm", "updates", "s/update", "judge", "trained reward", "untrained reward", "reward up, untrained down",
    "subject R@5", "diversity", "drift", "bad guards (seeds)", "settings",
)  # fmt: skip
PANEL = ("recall", "diversity", "distance")


def write(bench: MethodsBench, folder: Path) -> Path:
    """All of it into `folder`; returns the page. Raises UsageError without matplotlib."""
    arms = collect(bench)
    answers = {question.ask: answer(question, arms) for question in bench.study.questions}
    families = {name: _family(bench, name) for name in arms}
    plots.frontier(folder / "frontier.png", arms, families)
    plots.curves(folder / "curves.png", [arm for name, arm in arms.items() if name in bench.study.curves()])
    by_sigma = _by_sigma(bench)
    plots.by_sigma(folder / "accuracy_by_sigma.png", "share of pairs in the right order", by_sigma["accuracy.sigma_"])
    logits = by_sigma["logit.sigma_"]  # one method's are in the thousands, another's below one
    plots.by_sigma(folder / "logit_by_sigma.png", "mean logit of a pair", logits, scale="symlog")
    facts = {
        "study": bench.study.model_dump(mode="json"),
        "arms": {name: _facts(arm) for name, arm in arms.items()},
        "answers": {ask: [line.model_dump() for line in lines] for ask, lines in answers.items()},
        "by_sigma": by_sigma,
    }
    atomic.write_file(folder / "methods.json", json.dumps(facts, separators=(",", ":"), allow_nan=True) + "\n")
    page = folder / "methods.md"
    atomic.write_file(page, _markdown(bench, arms, answers))
    return page


def _markdown(bench: MethodsBench, arms: Mapping[str, ArmFigures], answers: Mapping[str, Sequence[Answer]]) -> str:
    budget = bench.study.budget
    head = (
        "# Every method at the same budget\n\nWritten by `palate bench methods`; what it means stands in "
        "[README.md](README.md).\n\nChanges from the base on the test prompts, mean over seeds "
        f"{', '.join(map(str, budget.seeds))}, with 95 % intervals over prompts and seeds."
    )
    parts = [head]
    for point, title in (
        ("wall", f"At equal seconds: {budget.seconds:g} s of training on one thread"),
        ("samples", f"At equal data: {budget.samples} pictures or pairs"),
    ):
        parts.append(f"## {title}\n\n{_table(arms, point)}")  # type: ignore[arg-type]
    parts.append("![judge against drift](frontier.png)\n\n![the judge over seconds](curves.png)")
    parts.append("![accuracy by noise level](accuracy_by_sigma.png)\n\n![logit by noise level](logit_by_sigma.png)")
    parts.append("## Questions")
    for ask, lines in answers.items():
        rows = [["arm", "figure", "value", "95 % interval"]]
        rows += [
            [line.arm, line.figure, _number(line.value), f"{_number(line.low)} to {_number(line.high)}"]
            for line in lines
        ]
        parts.append(f"### {ask}\n\n{markdown(rows)}")
    return "\n\n".join(parts) + "\n"


def _table(arms: Mapping[str, ArmFigures], point: Point) -> str:
    rows: list[Sequence[str]] = [HEAD]
    for name, arm in arms.items():
        update = arm.at(point)
        changes = [statistics.mean(arm.value(v, update)) - statistics.mean(arm.value(v, 0)) for v in PANEL]
        rows.append(
            (
                name,
                str(update),
                f"{arm.seconds_per_update:.2f}",
                *(_gain(arm, figure, update) for figure in ("judge", "reward", "second")),
                f"{arm.pictures('hacked', update).mean():.0%}",
                *(f"{change:+.3f}" for change in changes),
                ", ".join(arm.bad_guards(update)) or "none",
                ", ".join(f"{key.rpartition('.')[2]} {value:g}" for key, value in arm.settings.items()),
            )
        )
    return markdown(rows)


def _gain(arm: ArmFigures, figure: Figure, update: int) -> str:
    return str(interval([arm.pictures(figure, update), arm.pictures(figure, 0)], difference))


def _facts(arm: ArmFigures) -> dict[str, Any]:
    """Everything measured: means by seed at every check, and the pictures' own figures at both ends."""
    ends = sorted({0, arm.at("wall"), arm.at("samples")})
    return {
        "settings": arm.settings,
        "seconds_per_update": arm.seconds_per_update,
        "updates": {"wall": arm.at("wall"), "samples": arm.at("samples"), "measured": arm.updates},
        "values": {update: [seen["values"] for seen in arm.figures(update)] for update in arm.updates},
        "guards": {update: [seen["guards"] for seen in arm.figures(update)] for update in arm.updates},
        "pictures": {update: [seen["pictures"] for seen in arm.figures(update)] for update in ends},
    }


def _family(bench: MethodsBench, name: str) -> str:
    arm = bench.study.arms[name]
    if arm.data:
        return "pairs"
    return "groups" if bench.study.arms[bench.study.swept(name)].sweep == "groups" else "direct"


def _by_sigma(bench: MethodsBench) -> dict[str, dict[str, dict[float, float]]]:
    """Means over the second half of each run and over seeds of what methods log by noise level."""
    found: dict[str, dict[str, dict[float, float]]] = {prefix: {} for prefix in BUCKETS}
    for name, jobs in bench.final_jobs().items():
        updates = [event for job in jobs for event in _second_half(job.run.events("update"))]
        for prefix in BUCKETS:
            values = defaultdict[float, list[float]](list)
            for event in updates:
                for key, value in event["metrics"].items():
                    if key.startswith(prefix):
                        values[float(key.removeprefix(prefix)) + 0.05].append(value)
            if values:
                found[prefix][name] = {level: round(statistics.mean(values[level]), 4) for level in sorted(values)}
    return found


def _second_half(updates: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    return updates[len(updates) // 2 :]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def _number(value: float) -> str:
    return "not reached" if value == float("inf") else f"{value:+.3f}"
