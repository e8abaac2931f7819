"""`python -m training learn-words`: token embeddings that tell liked from disliked pictures, everything else frozen.

The idea is SRPO's future work (arXiv:2509.06942), the means textual inversion's (arXiv:2208.01618). The words are
learned before a run and fixed in it: learned together with a policy they would only move to raise the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from toolkit import pairs
from toolkit.errors import UsageError
from toolkit.pairs import Like
from toolkit.recipe import Section
from toolkit.words import WordPair, caption
from training import build, learned_words, measures
from training.held_out import held_out
from training.latent_cache import whole
from training.randomness import key, shuffled

SHARPNESS = 20.0  # of the relative score, a difference of cosines, inside the sigmoid


class WordLearning(BaseModel):
    """How words are learned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: int = Field(default=4, ge=1, le=32, description="Vectors per word.")
    steps: int = Field(default=200, ge=1, le=100_000, description="Optimizer steps.")
    batch_size: int = Field(default=32, ge=1, le=4096, description="Pictures per step.")
    learning_rate: float = Field(
        default=0.03, gt=0, le=10, description="AdamW's, in units of the vocabulary's own spread."
    )
    seed: int = Field(default=42, ge=0, lt=2**31, description="The same seed gives the same words.")


class Lesson:
    """Two words of one reward, learned on pictures whose features are known."""

    def __init__(self, reward: Any, pair: WordPair, settings: WordLearning) -> None:
        """reward: a dual encoder. The words start as noise around the middle of its vocabulary."""
        self.reward, self.pair, self.settings = reward, pair, settings
        self.reader = learned_words.Reader(reward, reward.text_features)
        table = self.reader.embedding.weight.detach().float()
        self.middle, self.spread = table.mean(dim=0), table.std(dim=0).mean()
        generator = torch.Generator().manual_seed(key(settings.seed, "words"))
        start = torch.randn(2, settings.tokens, table.shape[1], generator=generator)
        self.offsets = start.to(table.device).requires_grad_()
        self.optimizer = torch.optim.AdamW([self.offsets], lr=settings.learning_rate, weight_decay=0.01)

    @property
    def vectors(self) -> Tensor:
        """[2, tokens, D] of the positive and the negative word."""
        return self.middle + self.spread * self.offsets

    def relative(self, features: Tensor, prompts: Sequence[str]) -> Tensor:
        """Positive minus negative word's score of pictures with unit features [B, D], [B]."""
        texts = [
            functional.normalize(self.reader.features([caption(w, p) for p in prompts], w, vectors).float(), dim=-1)
            for w, vectors in zip((self.pair.positive, self.pair.negative), self.vectors, strict=True)
        ]
        return (features * (texts[0] - texts[1])).sum(dim=1)

    def learn(self, features: Tensor, items: Sequence[Like]) -> None:
        """All steps, over the pictures in an order of the seed's own."""
        liked, weights = _liked(items, features), torch.tensor([item.weight for item in items], device=features.device)
        for step in range(self.settings.steps):
            places = list(shuffled(len(items), self.settings.seed, "words", step)[: self.settings.batch_size])
            logits = SHARPNESS * self.relative(features[places], [items[place].prompt for place in places])
            each = functional.binary_cross_entropy_with_logits(logits, liked[places].float(), reduction="none")
            self.optimizer.zero_grad()
            (weights[places] * each).mean().backward()
            self.optimizer.step()

    @torch.no_grad()
    def worth(self, features: Tensor, items: Sequence[Like]) -> dict[str, float]:
        """Share of pictures on their right side, and AUC."""
        scores = torch.cat([self.relative(f[None], [i.prompt]) for f, i in zip(features, items, strict=True)])
        liked = _liked(items, features)
        right = ((scores > 0) == liked).float().mean()
        return {"accuracy": round(float(right), 4), "auc": round(measures.auc(scores[liked], scores[~liked]), 4)}


def learn(
    source: str, rewards: Sequence[Section], output: Path, pair: WordPair, settings: WordLearning
) -> dict[str, Any]:
    """Learn a pair of words for each reward, write `output`, and return what its header says.

    Raises UsageError for pictures that are all liked or all disliked, or a reward that reads no text by itself.
    """
    found: Any = pairs.read("likes", source).kept
    learned, checked = held_out(found, lambda item: item.prompt, seed=settings.seed)
    for side, role in ((learned, "to learn from"), (checked, "kept back for the check")):
        if len({item.liked for item in side}) < 2:
            raise UsageError(
                f"The {len(side)} pictures {role} are all liked, or all disliked.",
                action="Judge more pictures, of several prompts.",
            )
    facts: dict[str, Any] = {"likes": pairs.fingerprint(source)[:16], "learned": len(learned), "held_out": len(checked)}
    facts |= {"words": [pair.positive, pair.negative], "settings": settings.model_dump(), "rewards": {}}
    vectors = {}
    for section in rewards:
        reward = build.scorer(section, build.best_device())
        if not hasattr(reward, "learn"):
            raise UsageError(
                f"`{section.name}` cannot learn words.",
                cause="It has no text encoder of its own beside its picture encoder.",
                action="Choose a dual encoder, such as hpsv21, pickscore, clip or siglip.",
            )
        lesson = Lesson(reward, pair, settings)
        seen, unseen = (features_of(reward, [item.picture for item in side]) for side in (learned, checked))
        before = lesson.worth(unseen, checked)
        lesson.learn(seen, learned)
        facts["rewards"][section.name] = {"before": before, "after": lesson.worth(unseen, checked)}
        vectors[section.name] = dict(zip((pair.positive, pair.negative), lesson.vectors, strict=True))
    learned_words.save(output, vectors, facts)
    return facts


@torch.no_grad()
def features_of(reward: Any, pictures: Sequence[pairs.Picture]) -> Tensor:
    """Unit vectors [B, D], each picture in its own size."""
    device = next(reward.parameters()).device
    return torch.cat([reward.embed_images(whole(picture)[None].to(device)) for picture in pictures])


def _liked(items: Sequence[Like], like: Tensor) -> Tensor:
    return torch.tensor([item.liked for item in items], device=like.device)
