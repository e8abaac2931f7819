"""`python -m training tune-reward`: a dual encoder made more sensitive to control words, on photos captioned with them.

The loss is the one that the demo's reward was trained by: CLIP's own contrast, so that nothing is forgotten, and half
of a loss about control words alone: a picture against texts that differ in the style word, and a picture beside its
degraded self against the two words that tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

from toolkit import pairs
from toolkit.errors import UsageError
from toolkit.recipe import Section
from toolkit.words import caption
from training import build, measures
from training.augmentations import augment
from training.held_out import held_out
from training.latent_cache import fitted
from training.randomness import Rng, shuffled
from training.tuned_weights import save

GENERIC = ("an object", "a thing", "something", "a subject")
LOGIT_SCALE = 20.0  # of cosines, in every softmax here
QUALITIES = {"blurry": ("sharp", "blurry"), "noisy": ("clean", "noisy"), "dark": ("bright", "dark")}


class RewardTuning(BaseModel):
    """How a reward is tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=200, ge=1, le=100_000, description="Optimizer steps.")
    batch_size: int = Field(default=32, ge=2, le=4096, description="Photos per step.")
    learning_rate: float = Field(
        default=1e-5, gt=0, le=1, description="AdamW, falling to 0 along a cosine: 1e-6 to 1e-5, the demo 1e-4."
    )
    word_weight: float = Field(default=0.5, ge=0, le=100, description="Weight of the control-word losses.")
    generic_share: float = Field(
        default=0.3, ge=0, le=1, description="Share of texts whose subject is only called an object, a thing …"
    )
    size: int = Field(default=224, ge=16, le=1024, description="Side that photos are cut to, around their middle.")
    seed: int = Field(default=42, ge=0, lt=2**31, description="The same seed gives the same weights.")


@dataclass(frozen=True)
class Styled:
    """A photo whose caption names the style `word`; `plain` is the caption without it."""

    photo: pairs.Photo
    word: str
    plain: str


def styled(photo: pairs.Photo, words: Sequence[str]) -> Styled | None:
    """None where the caption names none of the words, or several: the longest that it holds counts."""
    found = [word for word in words if re.search(rf"\b{re.escape(word)}\b", photo.prompt, re.IGNORECASE)]
    longest = max(found, key=len, default="")
    if not found or any(word not in longest for word in found):
        return None
    without = re.sub(
        rf"\s*[,.]?\s*\b{re.escape(longest)}\b(\s+of\b|\s*[.,:])?\s*", " ", photo.prompt, flags=re.IGNORECASE
    )
    return Styled(photo, longest, without.strip())


class Tuner:
    """Steps of a tuning. All weights of both towers learn; statistics of their layers stay."""

    def __init__(self, reward: Any, words: Sequence[str], settings: RewardTuning) -> None:
        """reward: a dual encoder; words: the style words that captions hold."""
        self.reward, self.words, self.settings = reward, list(words), settings
        self.parameters = [parameter.requires_grad_() for parameter in reward.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=settings.learning_rate, weight_decay=0.01)
        self.fall = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, settings.steps)

    def step(self, images: Tensor, items: Sequence[Styled], rng: Rng) -> Tensor:
        """One optimizer step on photos [B, 3, H, W]; the loss."""
        seen = augment(images, rng, 1.0)
        loss = self.contrast(seen, items) + self.settings.word_weight * self.control(seen, items, rng)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.fall.step()
        return loss.detach()

    def contrast(self, images: Tensor, items: Sequence[Styled]) -> Tensor:
        """CLIP's symmetric cross-entropy (arXiv:2103.00020); equal captions are right for each other."""
        prompts = [item.photo.prompt for item in items]
        alike = torch.tensor([[one == other for other in prompts] for one in prompts], device=images.device).float()
        target = alike / alike.sum(dim=1, keepdim=True)
        logits = LOGIT_SCALE * self.reward.embed_images(images) @ self.texts(prompts).T
        return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2

    def control(self, images: Tensor, items: Sequence[Styled], rng: Rng) -> Tensor:
        """One picture against its caption with every style word; a clean and a degraded one against two words."""
        plain = [
            GENERIC[number] if share < self.settings.generic_share else item.plain
            for item, share, number in zip(
                items, rng.uniform("generic").tolist(), rng.integer("name", 0, len(GENERIC) - 1).tolist(), strict=True
            )
        ]
        features = self.reward.embed_images(images)
        style = self.logits(features, [[caption(word, text) for word in self.words] for text in plain])
        wanted = torch.tensor([self.words.index(item.word) for item in items], device=images.device)
        kinds = [list(QUALITIES)[place] for place in rng.integer("kind", 0, len(QUALITIES) - 1).tolist()]
        worse = self.reward.embed_images(degraded(images, kinds, rng))
        texts = [[caption(word, text) for word in QUALITIES[kind]] for kind, text in zip(kinds, plain, strict=True)]
        both = torch.stack([self.logits(features, texts), self.logits(worse, texts)], dim=1)  # [B, picture, word]
        places = torch.arange(2, device=images.device).expand(len(items), 2)
        rows, columns = (functional.cross_entropy(side, places) for side in (both.transpose(1, 2), both))
        return functional.cross_entropy(style, wanted) + (rows + columns) / 2

    def logits(self, features: Tensor, texts: Sequence[Sequence[str]]) -> Tensor:
        """Of pictures [B, D] with T texts each, [B, T]."""
        described = self.texts([text for row in texts for text in row]).unflatten(0, (len(texts), -1))
        return LOGIT_SCALE * torch.einsum("bd,btd->bt", features, described)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, D] with gradient, each different text encoded once."""
        different = list(dict.fromkeys(texts))
        encoded = functional.normalize(self.reward.text_features(different).float(), dim=-1)
        return encoded[[different.index(text) for text in texts]]


def degraded(images: Tensor, kinds: Sequence[str], rng: Rng) -> Tensor:
    """Plainly blurry, noisy or dark versions of pictures [B, 3, H, W]."""
    strength, noise = rng.uniform("strength", 0.5, 1.0).tolist(), rng.normal("degrade", images.shape[1:])
    side = images.shape[-1]
    worse = []
    for image, kind, by, grain in zip(images, kinds, strength, noise, strict=True):
        if kind == "blurry":
            taps = 2 * round(0.06 * side) + 1
            worse.append(transforms.gaussian_blur(image, [taps, taps], [0.04 * side * by] * 2))
        else:
            worse.append(image + 0.25 * by * grain if kind == "noisy" else image * (1 - 0.7 * by))
    return torch.stack(worse).clamp(0, 1)


@torch.no_grad()
def told_apart(
    reward: Any, images: Sequence[Tensor], items: Sequence[Styled], words: Sequence[str]
) -> dict[str, float]:
    """AUC of the relative reward for every two words that photos carry: pictures of one against those of the other."""
    features = torch.cat([reward.embed_images(image[None]) for image in images])
    found = {}
    for one, other in combinations([word for word in words if any(item.word == word for item in items)], 2):
        scores: dict[str, list[Tensor]] = {one: [], other: []}
        for feature, item in zip(features, items, strict=True):
            if item.word in scores:
                texts = reward.embed_texts([caption(one, item.plain), caption(other, item.plain)])
                scores[item.word].append(feature @ (texts[0] - texts[1]))
        found[f"{one} / {other}"] = round(measures.auc(torch.stack(scores[one]), torch.stack(scores[other])), 4)
    return found


def tune(source: str, section: Section, words: Sequence[str], output: Path, settings: RewardTuning) -> dict[str, Any]:
    """Tune a reward on captioned photos, write its weights, and return what their header says.

    Raises UsageError where too few captions name the words, or the reward is no dual encoder.
    """
    found: Any = pairs.read("photos", source).kept
    known = [item for item in (styled(photo, words) for photo in found) if item is not None]
    if len({item.word for item in known}) < 2:
        raise UsageError(
            f"Of {len(found)} captions, {len(known)} name one of the words {', '.join(f'`{word}`' for word in words)}.",
            cause="At least two of the words must occur, each in captions of its own.",
            action="Give the words that the captions use.",
        )
    learned, checked = held_out(known, lambda item: item.plain, seed=settings.seed)
    reward = build.scorer(section, build.best_device())
    if not hasattr(reward, "text_features"):
        raise UsageError(
            f"`{section.name}` cannot be tuned to words.",
            cause="It does not compare pictures and texts by a dot product.",
            action="Choose a dual encoder, such as hpsv21, pickscore, clip or siglip.",
        )
    device, size = next(reward.parameters()).device, (settings.size, settings.size)
    looked = [fitted(item.photo.picture, size).to(device) for item in checked]
    before = told_apart(reward, looked, checked, words)
    tuner = Tuner(reward, words, settings)
    for items, rng in _batches(learned, settings, device):
        tuner.step(torch.stack([fitted(item.photo.picture, size) for item in items]).to(device), items, rng)
    reward.requires_grad_(False).forget_texts()
    facts = {
        "reward": section.name,
        "photos": pairs.fingerprint(source)[:16],
        "words": list(words),
        "learned": len(learned),
        "held_out": len(checked),
        "before": before,
        "after": told_apart(reward, looked, checked, words),
        "settings": settings.model_dump(),
    }
    save(output, reward.network, facts)
    return facts


def _batches(
    items: Sequence[Styled], settings: RewardTuning, device: torch.device
) -> Iterator[tuple[list[Styled], Rng]]:
    size = min(settings.batch_size, len(items))
    for step in range(settings.steps):
        places = shuffled(len(items), settings.seed, "tune", step)[:size]
        yield [items[place] for place in places], Rng(settings.seed, step, tuple(range(size)), device)
