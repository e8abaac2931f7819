"""`python -m training compare`: base against LoRA on prompts and seeds that nothing else has seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from toolkit import atomic, lora_file, prompts
from toolkit.recipe import Recipe, Section
from toolkit.run_folder import RunFolder
from training import build, clips, previews
from training.events import plain
from training.guards import Check, lights
from training.validation import Panel

REPORT = "report"  # the randomness of report pictures is nobody else's
SHOWN = 8  # prompts in the before/after sheet
ZOOM = 2


@dataclass(frozen=True)
class Pictures:
    """The test prompts' pictures of the base and with the LoRA, same seeds: [seeds · prompts, 3, H, W] or clips."""

    texts: list[str]
    base: Tensor
    aligned: Tensor


def compare(run: RunFolder, *, seeds: int, steps: int, judge: str, strength: float) -> dict[str, Any]:
    """Render the test prompts with and without the LoRA, measure both, write report/ and return its table."""
    recipe = run.recipe()
    stage = build.stage(recipe, build.best_device())
    pictures = _render(run, recipe, stage, seeds, steps, strength)
    table = _measure(recipe, stage, pictures, judge)
    table["pictures"] = {"prompts": len(pictures.texts), "seeds": seeds, "steps": steps, "strength": strength}
    atomic.write_json(run.report / "report.json", table)
    _write_sheet(run, recipe, pictures)
    return table


def _render(run: RunFolder, recipe: Recipe, stage: build.Stage, seeds: int, steps: int, strength: float) -> Pictures:
    policy = stage.policy
    policy.load_adapter(lora_file.load(run.lora_files()[0], policy.base.lora_facts.component))
    texts = [prompt.text for prompt in prompts.read(recipe.prompts.test)]
    renderer = stage.renderer(recipe, REPORT, steps=steps)
    with policy.as_reference():
        base = torch.cat([renderer(texts, seed) for seed in range(seeds)])
    with policy.at_strength(strength):
        aligned = torch.cat([renderer(texts, seed) for seed in range(seeds)])
    return Pictures(texts, base, aligned)


def _measure(recipe: Recipe, stage: build.Stage, pictures: Pictures, judge: str) -> dict[str, Any]:
    device = stage.policy.device
    trained, selecting = recipe.reward, recipe.validation.scorer
    scorers = {
        name: build.scorer(section, device, recipe.words)
        for name, section in (("reward", trained), ("second", selecting))
    }
    lists = [prompts.read(source) for source in (recipe.prompts.test, recipe.prompts.train, recipe.prompts.validation)]
    panel = Panel(lists[0], recipe.words, scorers, among=[*lists[1], *lists[2]], device=device)
    sides = {"base": panel.measure(pictures.base), "aligned": panel.measure(pictures.aligned)}
    lit = lights(Check(0, sides["aligned"]), Check(0, sides["base"]))
    if judge and recipe.words:
        held_out = build.scorer(Section(name=judge), device)
        for side, images in (("base", pictures.base), ("aligned", pictures.aligned)):
            sides[side] |= _judged(held_out, recipe, images, len(pictures.texts))
    recall = sides["base"].get("recall", 0.0)
    return plain(
        {
            **sides,
            "guards": {name: light["state"] for name, light in lit.items()},
            "recall_error": (recall * (1 - recall) / len(pictures.base)) ** 0.5,
        }
    )


def _judged(judge: Any, recipe: Recipe, images: Tensor, prompts_per_seed: int) -> dict[str, float]:
    """The held-out judge's share of pictures in either style; NaN for words it cannot judge."""
    pairs = [recipe.words[i % len(recipe.words)] for i in range(prompts_per_seed)]
    words: Sequence[Sequence[str]] = [[pair.positive, pair.negative] for pair in pairs]
    shares = judge.score(images, judge.target(list(words) * (len(images) // prompts_per_seed))).mean(dim=0)
    return {"judge_positive": float(shares[0]), "judge_negative": float(shares[1])}


def _write_sheet(run: RunFolder, recipe: Recipe, pictures: Pictures) -> None:
    """before_after.png: evenly chosen prompts of the first seed; a clip shows its middle frame."""
    count = len(pictures.texts)
    shown = min(SHOWN, count)
    chosen = [i * count // shown for i in range(shown)]
    rows = [("base", clips.posters(pictures.base[chosen])), ("with the LoRA", clips.posters(pictures.aligned[chosen]))]
    texts = [pictures.texts[i] for i in chosen]
    facts = {"words": "; ".join(map(str, recipe.words)), "prompts": texts, "seed": recipe.training.seed}
    sheet = previews.grid(rows, texts, zoom=ZOOM)
    previews.save_png(run.report / "before_after.png", sheet, {"palate": json.dumps(facts, ensure_ascii=False)})
