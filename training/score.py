"""`python -m training score`: how well a reward tells a word pair apart on pictures the base itself makes.

With --serve it answers JSON lines until its input closes or it has been idle: the Studio's way to ask without ever
loading a model itself.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from typing import Any

import torch

from toolkit import prompts
from toolkit.errors import PalateError
from toolkit.recipe import Recipe, Section
from toolkit.words import WordPair, caption, positive_and_negative
from training import build, measures
from training.validation import Renderer

PURPOSE = "words"
PROMPTS, STEPS = 24, 8


class WordScorer:
    """Renders prompts under each word and asks the reward which is which. Pictures of a word are kept."""

    def __init__(self, base: Section, reward: Section) -> None:
        """Load both."""
        self._recipe = Recipe(base=base, reward=reward)
        stage = build.stage(self._recipe, build.best_device())
        self._render: Renderer = stage.renderer(self._recipe, PURPOSE, steps=STEPS)
        self._prompts = [prompt.text for prompt in prompts.read(self._recipe.prompts.train)[:PROMPTS]]
        self._reward: Any = build.scorer(reward, stage.policy.device)
        self._pictures: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def separation(self, pair: WordPair) -> dict[str, float]:
        """AUC in 0..1 (0.5 = the reward cannot tell them apart) and the cosine of the two texts."""
        target = self._reward.target(positive_and_negative(self._prompts, [pair] * len(self._prompts)))
        sides = []
        for word in (pair.positive, pair.negative):
            scores = self._reward.score(self._of(word), target)
            sides.append(scores[:, 0] - scores[:, 1])
        has_texts = hasattr(self._reward, "embed_texts")
        cosine = float(measures.word_cosine(target)) if has_texts else float("nan")
        return {"separation": measures.auc(*sides), "cosine": cosine}

    def _of(self, word: str) -> torch.Tensor:
        if word not in self._pictures:
            self._pictures[word] = self._render([caption(word, prompt) for prompt in self._prompts])
        return self._pictures[word]


def serve(idle_seconds: float) -> None:
    """Answer {"base", "reward", "positive", "negative"} lines with {"separation", "cosine"} or {"error"} lines."""
    scorers: dict[tuple[str, str], WordScorer] = {}
    print(json.dumps({"ready": True}), flush=True)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_into, args=(lines,), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=idle_seconds)
        except queue.Empty:
            return
        if not line:
            return
        print(json.dumps(_answer(line, scorers)), flush=True)


def _read_into(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def _answer(line: str, scorers: dict[tuple[str, str], WordScorer]) -> dict[str, Any]:
    try:
        asked = json.loads(line)
        key = (asked.get("base", "demo"), asked.get("reward", "demo"))
        if key not in scorers:
            scorers[key] = WordScorer(Section(name=key[0]), Section(name=key[1]))
        return scorers[key].separation(WordPair(positive=asked["positive"], negative=asked["negative"]))
    except (PalateError, ValueError, KeyError) as error:
        return {"error": str(error)}
