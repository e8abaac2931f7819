"""The node Pick Best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from . import scoring_node
from .compat import build
from .logic import selection
from .logic.ranking import order, table
from .scorer import score


class PickBest(io.ComfyNode):
    """Best of n: the pictures that score highest, and the latents they came from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their explanations."""
        return build(
            io.Schema,
            node_id="PalatePickBest",
            display_name="Pick Best",
            category=scoring_node.CATEGORY,
            description="Keeps the pictures that score highest, best first; with their latents if you connect them.",
            search_aliases=["best of n", "rerank", "filter images", "palate"],
            is_output_node=True,
            is_input_list=True,
            inputs=[
                *scoring_node.inputs(),
                build(io.Int.Input, "keep", default=1, min=1, max=4096, tooltip="How many are kept at most."),
                build(
                    io.Latent.Input, "latents", optional=True,
                    tooltip="The latents that the pictures were decoded from, in the same order.",
                ),
            ],
            outputs=[
                build(
                    io.Image.Output, "best_images", display_name="images", is_output_list=True,
                    tooltip="The kept pictures, best first: one batch, or a list where their sizes differ.",
                ),
                build(
                    io.Latent.Output, "best_latents", display_name="latents", is_output_list=True,
                    tooltip="Their latents in the same order, if latents are connected.",
                ),
                build(
                    io.Int.Output, "indices", display_name="indices", is_output_list=True,
                    tooltip="Which ones of the input they are; the first is 0.",
                ),
                build(
                    io.Float.Output, "scores", display_name="scores", is_output_list=True,
                    tooltip="Their scores, in the same order.",
                ),
                build(
                    io.String.Output, "text", display_name="text",
                    tooltip="The table of all, best first, and what is doubtful.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, scorer: Sequence[Any], images: Sequence[Tensor], prompt: Sequence[str], positive_word: Sequence[str],
        negative_word: Sequence[str], keep: Sequence[int], latents: Sequence[dict[str, Any]] | None = None,
    ) -> io.NodeOutput:  # fmt: skip
        """Score, order, keep."""
        scores, notes = score(scorer[0], images, prompt, positive_word[0], negative_word[0])
        values, text = [each.value for each in scores], table(scores, notes)
        places = order(values)[: keep[0]]
        kept: Any = ExecutionBlocker("Pick Best gives latents only where latents are connected to it.")
        if latents:
            kept = selection.latents(latents, places, len(scores))
        return io.NodeOutput(
            selection.images(images, places), kept, places, [values[place] for place in places], text,
            ui=ui.PreviewText(text),
        )  # fmt: skip
