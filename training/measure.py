"""`python -m training measure`: checkpoints of some runs on the test prompts, picture by picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from toolkit import atomic, prompts
from toolkit.recipe import Recipe, Section
from toolkit.run_folder import RunFolder
from training import build
from training.events import plain
from training.guards import Check, lights
from training.report import REPORT, judged, panel, shares
from training.validation import Panel

DIGITS = 4


@dataclass(frozen=True)
class Bench:
    """A base, its test pictures and all scorers, for every run that differs in nothing but its LoRA."""

    stage: build.Stage
    recipe: Recipe
    panel: Panel
    judge: Any
    steps: int
    base: dict[str, Any]

    @classmethod
    def of(cls, recipe: Recipe, reward: str, judge: str, steps: int) -> Bench:
        """Loads everything and measures the base."""
        stage = build.stage(recipe, build.best_device())
        device = stage.policy.device
        watching = panel(recipe, Section(name=reward), device)
        bench = cls(stage, recipe, watching, build.scorer(Section(name=judge), device), steps, {})
        with stage.policy.as_reference():
            bench.base.update(bench.look())
        return bench

    def look(self) -> dict[str, Any]:
        """Means of the panel and the judge, `guards`, and `pictures`: lists over the test pictures."""
        texts = [prompt.text for prompt in prompts.read(self.recipe.prompts.test)]
        images = self.stage.renderer(self.recipe, REPORT, steps=self.steps)(texts)
        styles = judged(self.judge, self.recipe, images, len(texts))
        pictures = self.panel.scores(images)
        values = self.panel.measure(images, pictures) | shares(styles)
        base = Check(0, self.base.get("values", values))
        lit = {name: light["state"] for name, light in lights(Check(1, values), base).items()}
        pictures |= {"judge": styles[:, 0]}
        return {"values": plain(values), "guards": lit, "pictures": {k: rounded(v) for k, v in pictures.items()}}


def measure(wanted: Mapping[str, Sequence[int]], *, reward: str, judge: str, steps: int) -> int:
    """report/measured.json of each run: figures by update, "0" the base's. Returns how many were written.

    wanted: updates by run folder; for one that a run did not reach, its last checkpoint before stands.
    reward: whatever a run was trained on, all are measured by this one.
    """
    bench, built_for = None, ""
    for folder, updates in wanted.items():
        run = RunFolder(Path(folder))
        recipe = run.recipe()
        needed = _needed(recipe)
        if bench is None or needed != built_for:
            bench, built_for = Bench.of(recipe, reward, judge, steps), needed
        figures = {"0": bench.base}
        saved = run.checkpoint_updates()
        for update in sorted({max(there for there in saved if there <= asked) for asked in updates} - {0}):
            bench.stage.policy.load_adapter(load_file(run.checkpoints / f"{update:06d}" / "adapter.safetensors"))
            figures[str(update)] = bench.look()
        atomic.write_json(run.report / "measured.json", figures)
    return len(wanted)


def _needed(recipe: Recipe) -> str:
    """Everything but the LoRA that a test picture and its figures come from."""
    parts = recipe.model_dump(mode="json", include={"base", "words", "prompts", "lora", "validation"})
    for setting in ("every", "patience"):
        del parts["validation"][setting]
    return json.dumps([parts, recipe.training.seed], sort_keys=True)


def rounded(values: Tensor) -> list[float]:
    """For a file that people read."""
    return [round(value, DIGITS) for value in values.tolist()]
