"""The protocol of scorers that run as a process of their own: every message, defined once.

GET /describe → Description. POST /score with `encode(pictures, prompts)` → Answer, or Refusal with a status from 400.
In words: docs/remote-scorers.md. The serving side, free of libraries: `training.scorer_http`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save
from torch import Tensor

from training.scorer_http import PROTOCOL


class _Message(BaseModel):
    # Unknown keys pass: a newer scorer may say more. What an older client must not overlook raises PROTOCOL instead.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Description(_Message):
    """What a scorer says of itself."""

    protocol: int = Field(description="Version of this protocol.")
    name: str = Field(description="The scorer's name.")
    version: str = Field(description="Whatever changes when scores change: checkpoint, revision, preprocessing.")
    licence: str = Field(description="Licence of the weights.")
    range: tuple[float | None, float | None] = Field(description="Lowest and highest score; null where there is none.")
    needs_text: bool = Field(description="Whether the prompt matters.")
    accepts_video: bool = Field(description="Whether [B, F, 3, H, W] is scored as videos.")
    max_batch: int = Field(ge=1, description="Pictures or videos per question.")
    dimensions: tuple[str, ...] = Field(default=(), description="Names of further scores, such as motion quality.")


class Question(_Message):
    """The JSON part of a question."""

    protocol: int = Field(default=PROTOCOL, description="Version of this protocol.")
    prompts: tuple[str, ...] = Field(description="One per picture; empty ones where the scorer needs no text.")


class Answer(_Message):
    """Scores in the pictures' order; higher is better."""

    scores: tuple[float, ...] = Field(description="One finite number per picture.")
    dimensions: dict[str, tuple[float, ...]] = Field(default={}, description="The further scores by name.")


class Refusal(_Message):
    """Why there is no answer."""

    error: str = Field(description="One sentence.")


def encode(images: Tensor, prompts: Sequence[str]) -> bytes:
    """images: [B, 3, H, W] or [B, F, 3, H, W] in [0, 1]; B prompts → a question's body, float32 without loss."""
    question = Question(prompts=tuple(prompts))
    pictures = images.detach().float().cpu().contiguous()
    return save({"pictures": pictures}, metadata={"palate": question.model_dump_json()})
