"""The directions that word pairs give in a reward's space: how they lie to each other, and pictures along one of them.

A pair's direction is what training along it follows: the mean over prompts of g("positive. prompt") minus
g("negative. prompt"), g being the reward's unit text features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.functional import to_tensor

from toolkit import picture_sets
from toolkit.errors import UsageError
from toolkit.words import WordPair, caption


class WordDirections:
    """Of one reward. Directions and features of pictures are kept, so another pair costs no second look at them."""

    def __init__(self, reward: Any, prompts: Sequence[str], device: torch.device) -> None:
        """prompts: what the words are put before."""
        self._reward, self._prompts, self._device = reward, prompts, device
        self._directions: dict[WordPair, Tensor] = {}
        self._features: dict[tuple[str, str], Tensor] = {}

    @torch.no_grad()
    def cosines(self, pairs: Sequence[WordPair]) -> list[list[float]]:
        """[P][P] in -1..1: 1 the same way, 0 unrelated, -1 the opposite. Raises UsageError for a reward without."""
        if not hasattr(self._reward, "embed_texts"):
            raise UsageError("This reward has no directions: it reads picture and text together.")
        units = functional.normalize(torch.stack([self._direction(pair) for pair in pairs]), dim=-1)
        return (units @ units.T).clamp(-1, 1).tolist()

    @torch.no_grad()
    def margins(self, pair: WordPair, pictures: Sequence[str]) -> list[float | None]:
        """Per picture the score of the positive word minus the negative's; None where it cannot be read.

        A reward that reads picture and text together is asked about the two bare words.
        """
        return [self._margin(pair, name) for name in pictures]

    def _margin(self, pair: WordPair, name: str) -> float | None:
        try:
            if hasattr(self._reward, "embed_texts"):
                return float(self._look(name) @ self._direction(pair))
            target = self._reward.target([[pair.positive, pair.negative]])
            positive, negative = self._reward.score(self._opened(name), target)[0].tolist()
        except UsageError:
            return None
        return positive - negative

    def _direction(self, pair: WordPair) -> Tensor:
        """[D], not normalised: its length says how far apart the texts are."""
        if pair not in self._directions:
            sides = [
                self._reward.embed_texts([caption(word, prompt) for prompt in self._prompts]).mean(dim=0)
                for word in (pair.positive, pair.negative)
            ]
            self._directions[pair] = sides[0] - sides[1]
        return self._directions[pair]

    def _look(self, name: str) -> Tensor:
        """Unit features [D]; a changed file is looked at again."""
        key = (name, picture_sets.stamp(name))
        if key not in self._features:
            self._features[key] = self._reward.embed_images(self._opened(name))[0]
        return self._features[key]

    def _opened(self, name: str) -> Tensor:
        """[1, 3, H, W] in [0, 1]."""
        return to_tensor(picture_sets.opened(name))[None].to(self._device)
