"""What the nodes that score pictures have in common."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .compat import build

CATEGORY = "preference/score"
ScorerSocket = io.Custom("PALATE_SCORER")  # a `scorer.Scorer`


def scorer_output() -> Any:
    """The one output of every node that loads a scorer."""
    return build(ScorerSocket.Output, "scorer", display_name="scorer", tooltip="For Preference Score and Pick Best.")


def inputs() -> list[Any]:
    """Scorer, pictures, prompt and words."""
    return [
        build(
            ScorerSocket.Input, "scorer",
            tooltip="From Load Preference Model, or from CLIP as Preference Model.",
        ),
        build(io.Image.Input, "images", tooltip="A batch, or a list of pictures of any sizes."),
        build(
            io.String.Input, "prompt", default="", multiline=True, dynamic_prompts=True,
            tooltip="What the pictures were drawn from: one prompt for all, or a list with one for each. "
            "Weights such as (cat:1.3) are taken off.",
        ),
        build(
            io.String.Input, "positive_word", default="",
            tooltip="With both words the score is that of “positive. prompt” minus that of “negative. prompt”, "
            "as in training. Without, it is that of the prompt alone.",
        ),
        build(io.String.Input, "negative_word", default="", tooltip="What pictures should be less like."),
    ]  # fmt: skip
