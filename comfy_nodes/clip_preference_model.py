"""The node CLIP as Preference Model."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import scorer
from .compat import build
from .scoring_node import CATEGORY, scorer_output


class ClipPreferenceModel(io.ComfyNode):
    """Two parts of one CLIP that core's nodes loaded."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their explanations."""
        return build(
            io.Schema,
            node_id="PalateClipPreferenceModel",
            display_name="CLIP as Preference Model",
            category=CATEGORY,
            description="Takes the picture and the text part of one CLIP as a scorer. The text part needs its "
            "projection, which SD 1.5 checkpoints lack.",
            search_aliases=["clip score", "palate"],
            inputs=[
                build(io.ClipVision.Input, "clip_vision", tooltip="The picture part, from Load CLIP Vision."),
                build(io.Clip.Input, "clip", tooltip="The text part of the same CLIP, from Load CLIP."),
            ],
            outputs=[scorer_output()],
        )

    @classmethod
    def execute(cls, clip_vision: Any, clip: Any) -> io.NodeOutput:
        """Together, after a look at whether they belong together."""
        return io.NodeOutput(scorer.examined(clip_vision, clip))
