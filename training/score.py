"""`python -m training score`: how well a reward tells word pairs apart, and where they lead in its space.

With --serve it answers JSON lines until its input closes or it has been idle: the Studio's way to ask without ever
loading a model itself.
"""

from __future__ import annotations

import json
import math
import queue
import sys
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from toolkit import prompts
from toolkit.errors import PalateError
from toolkit.recipe import Recipe, Section
from toolkit.word_questions import Question
from toolkit.words import WordPair, caption, positive_and_negative
from training import build, measures
from training.validation import Renderer
from training.word_directions import WordDirections

PURPOSE = "words"
PROMPTS, STEPS = 24, 8


class PictureMaker:
    """Renders prompts under each word. Pictures of a word are kept."""

    def __init__(self, base: Section) -> None:
        """Load the base."""
        recipe = Recipe(base=base)
        self.prompts = some_prompts()
        self._render: Renderer = build.stage(recipe, build.best_device()).renderer(recipe, PURPOSE, steps=STEPS)
        self._pictures: dict[str, torch.Tensor] = {}

    def of(self, word: str) -> torch.Tensor:
        """[24, 3, H, W] in [0, 1]."""
        if word not in self._pictures:
            self._pictures[word] = self._render([caption(word, prompt) for prompt in self.prompts])
        return self._pictures[word]


class WordScorer:
    """Asks a reward which picture is which. It is loaded once for all bases."""

    def __init__(self, reward: Section) -> None:
        """Load the reward."""
        self._device = build.best_device()
        self._reward: Any = build.scorer(reward, self._device)

    @cached_property
    def directions(self) -> WordDirections:
        """Where pairs lead in this reward's space."""
        return WordDirections(self._reward, some_prompts(), self._device)

    @torch.no_grad()
    def separation(self, pair: WordPair, maker: PictureMaker) -> tuple[float, float | None]:
        """AUC in 0..1 (0.5 = the reward cannot tell them apart) and the cosine of the two texts, where it has them."""
        target = self._reward.target(positive_and_negative(maker.prompts, [pair] * len(maker.prompts)))
        sides = []
        for word in (pair.positive, pair.negative):
            scores = self._reward.score(maker.of(word), target)
            sides.append(scores[:, 0] - scores[:, 1])
        has_texts = hasattr(self._reward, "embed_texts")
        return measures.auc(*sides), float(measures.word_cosine(target)) if has_texts else None


def some_prompts() -> list[str]:
    """What the words are put before."""
    return [prompt.text for prompt in prompts.read(Recipe().prompts.train)[:PROMPTS]]


class Answering:
    """Answers questions; bases and rewards stay loaded between them."""

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self._scorers: dict[str, WordScorer] = {}
        self._makers: dict[str, PictureMaker] = {}

    def answer(self, question: Question) -> list[Any]:
        """As `Question` says. Raises PalateError or ValueError."""
        pairs, scorer = question.words(), self._scorer(question.reward)
        if question.ask == "cosines":
            return scorer.directions.cosines(pairs)
        if question.ask == "margins":
            return scorer.directions.margins(pairs[0], question.pictures)
        maker = self._maker(question.base)
        return [_finite(scorer.separation(pair, maker)) for pair in pairs]

    def _scorer(self, name: str) -> WordScorer:
        if name not in self._scorers:
            self._scorers[name] = WordScorer(Section(name=name))
        return self._scorers[name]

    def _maker(self, name: str) -> PictureMaker:
        if name not in self._makers:
            self._makers[name] = PictureMaker(Section(name=name))
        return self._makers[name]


def _finite(values: Sequence[float | None]) -> list[float | None]:
    return [value if value is not None and math.isfinite(value) else None for value in values]


def serve(idle_seconds: float) -> None:
    """Answer lines that hold a `Question`."""
    answering = Answering()
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
        print(json.dumps(_line(line, answering)), flush=True)


def _read_into(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def _line(line: str, answering: Answering) -> dict[str, Any]:
    try:
        return {"answer": answering.answer(Question.model_validate_json(line))}
    except (PalateError, ValueError, OSError) as error:
        return {"error": str(error)}
