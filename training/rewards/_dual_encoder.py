"""What dot-product rewards share: unit features, a cache of texts, and one image pass for any number of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms


class DualEncoder(nn.Module):
    """reward(image, text) = <f(image), g(text)>, both unit vectors. A scorer fills in the two towers.

    Text features are constants: each text is encoded once and kept, so a word pair costs one image pass.
    """

    differentiable: ClassVar[bool] = True
    gives: ClassVar[frozenset[str]] = frozenset({"differentiable", "text_conditioned", "image_features"})
    held_out: ClassVar[bool] = False

    def __init__(self) -> None:
        """An empty text cache."""
        super().__init__()
        self._texts: dict[str, Tensor] = {}

    def image_features(self, images: Tensor) -> Tensor:
        """The image tower: [B, 3, H, W] in [0, 1] → [B, D], not yet normalised."""
        raise NotImplementedError(type(self).__name__)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """The text tower: [B, D], not yet normalised."""
        raise NotImplementedError(type(self).__name__)

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D]. Raises ValueError unless images are [B, 3, H, W] floats in [0, 1]."""
        check_images(images)
        return functional.normalize(self.image_features(images).float(), dim=-1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, D], from the cache where known.

        Each text is encoded alone: in a batch its last bits would depend on its neighbours, and so a resumed run.
        """
        for text in texts:
            if text not in self._texts:
                self._texts[text] = functional.normalize(self.text_features([text]).float(), dim=-1)[0]
        return torch.stack([self._texts[text] for text in texts])

    def target(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """[B][T] texts → [B, T, D]."""
        flat = self.embed_texts([text for row in texts for text in row])
        return flat.reshape(len(texts), -1, flat.shape[-1])

    def score(self, images: Tensor, target: Tensor) -> Tensor:
        """One image pass → cosine with each text, [B, T] float32."""
        return torch.einsum("bd,btd->bt", self.embed_images(images), target)


def check_images(images: Tensor) -> None:
    """Raise ValueError unless images are [B, 3, H, W] floats in [0, 1] (NaN passes: the trainer names it)."""
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"a reward wants float pictures [B, 3, H, W], got {images.dtype} {tuple(images.shape)}")
    low, high = images.detach().aminmax()
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(f"a reward wants pictures in [0, 1], got [{low:.3g}, {high:.3g}]")


def to_square(images: Tensor, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """CLIP's preprocessing as a tensor operation: shortest side to `size`, centre crop, normalise. Differentiable.

    Antialiasing matters: without it the scores of large pictures drift far from the published pipelines'.
    """
    if images.shape[-2:] != (size, size):
        bicubic = transforms.InterpolationMode.BICUBIC
        images = transforms.resize(images, [size], interpolation=bicubic, antialias=True)
        images = transforms.center_crop(images, [size, size])
    return transforms.normalize(images.float(), list(mean), list(std))
