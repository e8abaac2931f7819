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
    watching = panel(recipe, recipe.reward, stage.policy.device)
    sides = {"base": watching.measure(pictures.base), "aligned": watching.measure(pictures.aligned)}
    lit = lights(Check(0, sides["aligned"]), Check(0, sides["base"]))
    if judge and recipe.words:
        held_out = build.scorer(Section(name=judge), stage.policy.device)
        for side, images in (("base", pictures.base), ("aligned", pictures.aligned)):
            sides[side] |= shares(judged(held_out, recipe, images, len(pictures.texts)))
    recall = sides["base"].get("recall", 0.0)
    return plain(
        {
            **sides,
            "guards": {name: light["state"] for name, light in lit.items()},
            "recall_error": (recall * (1 - recall) / len(pictures.base)) ** 0.5,
        }
    )


def panel(recipe: Recipe, reward: Section, device: torch.device) -> Panel:
    """What measures pictures of the test prompts: `reward`, and the recipe's selecting scorer as "second"."""
    sections = (("reward", reward), ("second", recipe.validation.scorer))
    scorers = {name: build.scorer(section, device, recipe.words) for name, section in sections}
    test, *others = (prompts.read(getattr(recipe.prompts, role)) for role in ("test", "train", "validation"))
    among = [prompt for listed in others for prompt in listed]
    return Panel(test, recipe.words, scorers, among=among, device=device)


@torch.no_grad()
def judged(judge: Any, recipe: Recipe, images: Tensor, prompts_per_seed: int) -> Tensor:
    """The held-out judge's certainty of either style, [B, 2]; NaN for words it cannot judge."""
    pairs = [recipe.words[i % len(recipe.words)] for i in range(prompts_per_seed)]
    words: Sequence[Sequence[str]] = [[pair.positive, pair.negative] for pair in pairs]
    return judge.score(images, judge.target(list(words) * (len(images) // prompts_per_seed)))


def shares(judged_pictures: Tensor) -> dict[str, float]:
    """The judge's share of pictures in either style, of [B, 2]."""
    positive, negative = judged_pictures.mean(dim=0).tolist()
    return {"judge_positive": positive, "judge_negative": negative}


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
