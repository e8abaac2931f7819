"""What all scorers share: their common settings, checked input, videos as frames, prompts that are too long."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from training.rewards._pictures import check_images, uniform_frames


class ScorerSettings(BaseModel):
    """Settings of every scorer with downloaded weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Precision of the weights; bfloat16 halves the memory and moves scores a little."
    )
    frames: int = Field(default=8, ge=1, le=64, description="Frames of a video that are scored, evenly spaced.")

    @property
    def torch_dtype(self) -> torch.dtype:
        """`dtype` as torch names it."""
        return getattr(torch, self.dtype)


class Scorer(nn.Module):
    """A frozen scorer. Whoever derives from it scores pictures; videos come for free."""

    differentiable: ClassVar[bool] = True
    gives: ClassVar[frozenset[str]] = frozenset({"differentiable"})
    held_out: ClassVar[bool] = False

    def __init__(self, frames: int = 8) -> None:
        """frames: how many of a video's are scored at most."""
        super().__init__()
        self.frames = frames
        self.frames_scored = 1  # behind each of the latest scores

    def target(self, texts: Sequence[Sequence[str]]) -> Any:
        """What B pictures are compared with, T texts each; a tensor [B, T, ...]."""
        raise NotImplementedError(type(self).__name__)

    def score_pictures(self, images: Tensor, target: Any) -> Tensor:
        """[B, 3, H, W] in [0, 1] → float32 [B, T]."""
        raise NotImplementedError(type(self).__name__)

    def score(self, images: Tensor, target: Any) -> Tensor:
        """Float32 [B, T] of pictures [B, 3, H, W], or of videos [B, F, 3, H, W]: the mean over evenly spaced frames.

        Raises ValueError unless images are floats in [0, 1].
        """
        check_images(images)
        if images.ndim == 4:
            self.frames_scored = 1
            return self.score_pictures(images, target)
        chosen = uniform_frames(images, self.frames)
        self.frames_scored = chosen.shape[1]
        scores = self.score_pictures(chosen.flatten(0, 1), target.repeat_interleave(self.frames_scored, dim=0))
        return scores.unflatten(0, (-1, self.frames_scored)).mean(dim=1)


def report_cut(scorer: str, text: str, tokens: int, limit: int) -> None:
    """Warn about a prompt that is longer than the scorer reads. Called where a text is first encoded, so once each."""
    if tokens > limit:
        warnings.warn(
            f"`{scorer}` reads {limit} tokens, this prompt has {tokens}: its end is not scored. Prompt: {text[:80]!r}",
            stacklevel=2,
        )
