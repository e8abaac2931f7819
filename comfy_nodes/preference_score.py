"""The node Preference Score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from . import scoring_node
from .compat import build
from .logic.ranking import order, table
from .scorer import score


class PreferenceScore(io.ComfyNode):
    """How well pictures match a prompt, and how much more one word than another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their explanations."""
        return build(
            io.Schema,
            node_id="PalatePreferenceScore",
            display_name="Preference Score",
            category=scoring_node.CATEGORY,
            description="Scores pictures as training does: for a pair of words, and for the prompt alone.",
            search_aliases=["reward", "clip score", "hpsv2", "rate", "palate"],
            is_output_node=True,
            is_input_list=True,
            inputs=scoring_node.inputs(),
            outputs=[
                build(
                    io.Float.Output, "scores", display_name="scores", is_output_list=True,
                    tooltip="One a picture: positive minus negative word; without words that of the prompt.",
                ),
                build(
                    io.Float.Output, "absolute", display_name="absolute", is_output_list=True,
                    tooltip="One a picture, for the prompt alone. Only comparable for the same prompt and model.",
                ),
                build(io.Float.Output, "best", display_name="best", tooltip="The highest of the scores."),
                build(
                    io.String.Output, "text", display_name="text",
                    tooltip="The table, best first, and what is doubtful.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, scorer: Sequence[Any], images: Sequence[Tensor], prompt: Sequence[str], positive_word: Sequence[str],
        negative_word: Sequence[str],
    ) -> io.NodeOutput:  # fmt: skip
        """Score, and show the table."""
        scores, notes = score(scorer[0], images, prompt, positive_word[0], negative_word[0])
        values, text = [each.value for each in scores], table(scores, notes)
        absolute = [each.absolute for each in scores]
        return io.NodeOutput(values, absolute, values[order(values)[0]], text, ui=ui.PreviewText(text))
