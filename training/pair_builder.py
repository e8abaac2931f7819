"""`python -m training pairs`: preference pairs of the base's own pictures, best against worst by the trained reward."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toolkit import atomic, prompts
from toolkit.errors import UsageError
from toolkit.prompts import Prompt
from toolkit.recipe import Recipe
from training import build, previews
from training.validation import Panel

PURPOSE = "pairs"  # the randomness of these pictures is nobody else's
LINES = "pairs.jsonl"
CHUNK = 16  # prompts in work at once; a picture's seed names its chunk and its place in it


@dataclass(frozen=True)
class Drawing:
    """One picture of a prompt: its score, and the seed that gives it again."""

    score: float
    seed: str
    image: Tensor


class PairBuilder:
    """Draws `per_prompt` pictures of each prompt with the recipe's base and validation sampler."""

    def __init__(self, recipe: Recipe, *, per_prompt: int) -> None:
        """Load the base and the reward."""
        self._recipe, self._per_prompt = recipe, per_prompt
        self._stage = build.stage(recipe, build.best_device())
        self._render = self._stage.renderer(recipe, PURPOSE)
        self._reward = build.scorer(recipe.reward, self._stage.policy.device)

    def write(self, folder: Path, *, limit: int | None = None, least_gap: float = 0.0) -> dict[str, Any]:
        """Pictures and `pairs.jsonl` into a new folder; says how many pairs were kept and how many were too close.

        least_gap: pairs whose scores differ by no more are left out. Raises UsageError when the folder is not empty.
        """
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"The folder `{folder}` is not empty.", action="Give a new one with --output.")
        texts = prompts.read(self._recipe.prompts.train)[:limit]
        lines: list[dict[str, Any]] = []
        for start in range(0, len(texts), CHUNK):
            for place, drawings in enumerate(self._draw(texts[start : start + CHUNK], start // CHUNK), start):
                best, worst = max(drawings, key=lambda d: d.score), min(drawings, key=lambda d: d.score)
                if best.score - worst.score > least_gap:
                    lines.append(self._save(folder, f"{place:05d}", texts[place], best, worst))
        if not lines:
            raise UsageError(
                f"No pair of pictures differs by more than {least_gap:g}.",
                action="Draw more pictures per prompt, or ask for a smaller gap.",
            )
        atomic.write_file(folder / LINES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        gaps = [line["score_chosen"] - line["score_rejected"] for line in lines]
        return {"kept": len(lines), "too_close": len(texts) - len(lines), "mean_gap": sum(gaps) / len(gaps)}

    @torch.no_grad()
    def _draw(self, chunk: list[Prompt], chunk_number: int) -> list[list[Drawing]]:
        """All drawings of each prompt of a chunk."""
        panel = Panel(chunk, self._recipe.words, {}, device=self._stage.policy.device)
        drawn: list[list[Drawing]] = [[] for _ in chunk]
        for number in range(chunk_number * self._per_prompt, (chunk_number + 1) * self._per_prompt):
            images = self._render([prompt.text for prompt in chunk], number)
            scores = panel.relative(self._reward, images.to(self._stage.policy.device)).tolist()
            for row, (score, image) in enumerate(zip(scores, images, strict=True)):
                drawn[row].append(Drawing(score, f"{self._recipe.training.seed}/{number}/{row}", image))
        return drawn

    def _save(self, folder: Path, name: str, prompt: Prompt, best: Drawing, worst: Drawing) -> dict[str, Any]:
        """Both pictures, and the line that speaks of them."""
        settings, facts = self._recipe.validation, self._stage.policy.base.lora_facts
        line: dict[str, Any] = {"prompt": prompt.text}
        for side, drawing in (("chosen", best), ("rejected", worst)):
            line[side] = self._picture(folder, f"{name}_{side}", drawing.image, prompt.text)
            line |= {f"score_{side}": drawing.score, f"seed_{side}": drawing.seed}
        return line | {
            "source_model": facts.base_name, "reward": self._recipe.reward.name,
            "steps": settings.steps, "guidance_scale": settings.guidance_scale,
        }  # fmt: skip

    def _picture(self, folder: Path, stem: str, image: Tensor, text: str) -> str:
        rate = self._stage.policy.base.frames_per_second
        path = folder / f"{stem}.{'webp' if rate else 'png'}"
        if rate:
            previews.save_clip(path, image, text, rate)
        else:
            previews.save_png(path, previews.to_picture(image), {"Title": text})
        return path.name
