"""`python -m training serve-scorer NAME`: one of Palate's own rewards behind the scoring protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

import toolkit
from toolkit.errors import UsageError
from toolkit.recipe import Section
from training import build, scorer_http
from training.rewards import REWARDS
from training.scorer_http import Pictures, Refused
from training.tables import load_class
from training.train import weights_hash

MAX_BATCH = 64


def serve(section: Section, port: int) -> None:
    """Load the reward and answer on loopback until stopped.

    Raises UsageError for a held-out scorer: `remote` would hide that it only judges.
    """
    cls: Any = load_class(REWARDS, section.name)
    if cls.held_out:
        raise UsageError(
            f"`{section.name}` judges the final report and is not served.",
            cause="Behind `remote` it could be trained on unnoticed.",
        )
    reward = build.scorer(section, build.best_device())
    describe = {
        "name": section.name,
        "version": f"palate {toolkit.__version__} {weights_hash(reward)}".strip(),
        "licence": getattr(cls, "licence", "as stated by the scorer's authors"),
        "range": getattr(cls, "range", (None, None)),
        "needs_text": "text_conditioned" in cls.gives,
        "accepts_video": True,
        "max_batch": MAX_BATCH,
    }
    scorer_http.serve(describe, lambda pictures, prompts: score(reward, pictures, prompts), port)


@torch.no_grad()
def score(reward: Any, pictures: Pictures, prompts: list[str]) -> Mapping[str, Any]:
    """Each picture or video with its prompt."""
    images = torch.frombuffer(bytearray(pictures.data), dtype=torch.float32).reshape(tuple(pictures.shape))
    target = reward.target([[prompt] for prompt in prompts])
    try:
        scores = reward.score(images.to(build.best_device()), target)
    except ValueError as problem:
        raise Refused(f"{problem}.") from None
    return {"scores": scores[:, 0].tolist()}
