"""`python -m training compare`: base against LoRA on prompts and seeds that nothing else has seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from toolkit import atomic, lora_file, prompts
from toolkit.recipe import Recipe
from toolkit.run_folder import RunFolder
from training import build, previews, tables
from training.guards import GUARDS, Check, lights
from training.validation import Panel

REPORT = "report"  # the randomness of report pictures is nobody else's
SHOWN = 8  # prompts in the before/after sheet
ZOOM = 2


def compare(
    run: RunFolder, *, seeds: int = 2, steps: int = 20, judge: str = "", strength: float = 1.0
) -> dict[str, Any]:
    """Render the test prompts with and without the LoRA, measure both, write report/ and return its table."""
    recipe = run.recipe()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stage = build.stage(recipe, device)
    facts = stage.policy.base.lora_facts
    stage.policy.load_adapter(lora_file.load(run.lora_files()[0], facts.component))
    asked = prompts.read(recipe.prompts.test)
    scorers = {"reward": tables.reward(recipe.reward), "second": tables.reward(recipe.validation.scorer)}
    panel = Panel(asked, recipe.words, scorers)
    texts = [prompt.text for prompt in asked]
    renderer = stage.renderer(recipe, REPORT, steps=steps)
    with stage.policy.as_reference():
        before = torch.cat([renderer(texts, seed) for seed in range(seeds)])
    with stage.policy.at_strength(strength):
        after = torch.cat([renderer(texts, seed) for seed in range(seeds)])

    table: dict[str, Any] = {"base": panel.measure(before), "aligned": panel.measure(after)}
    if judge:
        _add_judge(table, judge, recipe, texts, (before, after))
    base, aligned = (Check(0, table[side]) for side in ("base", "aligned"))
    table["guards"] = {name: light["state"] for name, light in lights(aligned, base).items()}
    count = len(after)
    table["recall_error"] = (table["base"]["recall"] * (1 - table["base"]["recall"]) / count) ** 0.5
    table["pictures"] = {"prompts": len(texts), "seeds": seeds, "steps": steps}
    table["guarded"] = sorted(guard.name for guard in GUARDS)
    atomic.write_json(run.report / "report.json", table)
    _write_sheet(run, recipe, texts, before, after)
    return table


def _add_judge(table: dict, name: str, recipe: Recipe, texts: list[str], pictures: tuple) -> None:
    """The held-out judge's share of pictures in the positive and in the negative style."""
    judge = tables.reward(recipe.reward.model_copy(update={"name": name, "settings": {}}))
    pairs = [recipe.words[i % len(recipe.words)] for i in range(len(texts))]
    words = [[pair.positive, pair.negative] for pair in pairs]
    for side, images in zip(("base", "aligned"), pictures, strict=True):
        shares = judge.score(images, judge.target(words * (len(images) // len(texts)))).mean(dim=0)
        table[side] |= {"judge_positive": float(shares[0]), "judge_negative": float(shares[1])}


def _write_sheet(run: RunFolder, recipe: Recipe, texts: list[str], before: torch.Tensor, after: torch.Tensor) -> None:
    places = (
        [round(i * (len(texts) - 1) / (SHOWN - 1)) for i in range(SHOWN)] if len(texts) >= SHOWN else range(len(texts))
    )
    chosen = list(places)
    rows = [("base", before[chosen]), ("with the LoRA", after[chosen])]
    sheet = previews.grid(rows, [texts[place] for place in chosen], zoom=ZOOM)
    words = "; ".join(map(str, recipe.words))
    facts = {"words": words, "prompts": [texts[i] for i in chosen], "seed": recipe.training.seed}
    previews.save_png(run.report / "before_after.png", sheet, {"palate": json.dumps(facts, ensure_ascii=False)})


def read(run: RunFolder) -> dict:
    """A report written earlier."""
    return json.loads(Path(run.report / "report.json").read_text(encoding="utf-8"))
