"""What dot-product rewards share: unit features, a cache of texts, and one image pass for any number of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from toolkit.words import caption
from training.learned_words import Reader, Words
from training.rewards._pictures import check_images, uniform_frames
from training.rewards._scorer import Scorer, ScorerSettings
from training.tuned_weights import lay_over

TUNED = "File of `palate reward tune`, laid over the weights; its path in full. Empty: as published."


class DualEncoderSettings(ScorerSettings):
    """Settings of every dual encoder with downloaded weights."""

    tuned: str = Field(default="", description=TUNED)


class DualEncoder(Scorer):
    """reward(image, text) = <f(image), g(text)>, both unit vectors. A scorer fills in the two towers.

    Text features are constants: each text is encoded once and kept, so a word pair costs one image pass.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"differentiable", "text_conditioned", "image_features"})

    def __init__(self, frames: int = 8) -> None:
        """An empty text cache."""
        super().__init__(frames)
        self._texts: dict[str, Tensor] = {}
        self._words: dict[str, Tensor] = {}
        self._reader: Reader | None = None

    @property
    def network(self) -> nn.Module:
        """Both towers, whose tensors bear the published names."""
        owner: Any = getattr(self, "towers", self)
        return owner.model

    def image_features(self, images: Tensor) -> Tensor:
        """The image tower: [B, 3, H, W] in [0, 1] → [B, D], not yet normalised."""
        raise NotImplementedError(type(self).__name__)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """The text tower: [B, D], not yet normalised."""
        raise NotImplementedError(type(self).__name__)

    def from_cosine(self, cosine: Tensor) -> Tensor:
        """The published score of a cosine; by itself the cosine."""
        return cosine

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D] of pictures or, as the direction of their frames' mean, of videos.

        Raises ValueError unless images are floats in [0, 1].
        """
        check_images(images)
        if images.ndim == 4:
            return self._unit_features(images)
        chosen = uniform_frames(images, self.frames)
        each = self._unit_features(chosen.flatten(0, 1)).unflatten(0, chosen.shape[:2])
        return functional.normalize(each.mean(dim=1), dim=-1)

    def lay_over(self, tuned: str) -> None:
        """Take the weights of a tuned reward instead, where there is one. Raises UsageError when they are others'."""
        if tuned:
            lay_over(self.network, tuned)

    def learn(self, words: Words) -> None:
        """Read these words as their vectors from now on, where a caption begins with one."""
        self._reader = self._reader or Reader(self, self.text_features)
        self._words |= words
        self._texts.clear()

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, D], from the cache where known.

        Each text is encoded alone: in a batch its last bits would depend on its neighbours, and so a resumed run.
        """
        for text in texts:
            if text not in self._texts:
                self._texts[text] = functional.normalize(self._read(text).float(), dim=-1)[0]
        return torch.stack([self._texts[text] for text in texts])

    def target(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """[B][T] texts → [B, T, D]."""
        flat = self.embed_texts([text for row in texts for text in row])
        return flat.reshape(len(texts), -1, flat.shape[-1])

    def score_pictures(self, images: Tensor, target: Tensor) -> Tensor:
        """One image pass → the score with each text, [B, T] float32."""
        return self.from_cosine(torch.einsum("bd,btd->bt", self._unit_features(images), target))

    def _read(self, text: str) -> Tensor:
        word = next((word for word in self._words if text.startswith(caption(word, ""))), None)
        if word is None or self._reader is None:
            return self.text_features([text])
        return self._reader.features([text], word, self._words[word])

    def _unit_features(self, images: Tensor) -> Tensor:
        return functional.normalize(self.image_features(images).float(), dim=-1)

    def forget_texts(self) -> None:
        """Encode them again when they are next asked for."""
        self._texts.clear()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> DualEncoder:
        """Texts that were encoded before a move to another device or dtype would be on the wrong one."""
        self.forget_texts()
        return super()._apply(fn, recurse)
