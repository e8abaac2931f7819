"""The node Preference Score."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from . import scoring_node
from .compat import build
from .logic.ranking import order, table


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
                    io.Float.Output, "scores", is_output_list=True,
                    tooltip="One a picture: positive minus negative word; without words that of the prompt.",
                ),
                build(
                    io.Float.Output, "absolute", is_output_list=True,
                    tooltip="One a picture, for the prompt alone. Only comparable for the same prompt and model.",
                ),
                build(io.Float.Output, "best", tooltip="The highest of the scores."),
                build(io.String.Output, "text", tooltip="The table, best first, and what is doubtful."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        """Score, and show the table."""
        scores, notes = scoring_node.score(**inputs)
        values, text = [score.value for score in scores], table(scores, notes)
        absolute = [score.absolute for score in scores]
        return io.NodeOutput(values, absolute, values[order(values)[0]], text, ui=ui.PreviewText(text))
