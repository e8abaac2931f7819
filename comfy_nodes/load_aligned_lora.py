"""The node Load Aligned LoRA."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from . import applying, lora_files, sockets
from .compat import build
from .logic.words import chosen
from .lora_node import LoraNode


class LoadAlignedLora(LoraNode):
    """A LoRA onto a model, its words as texts, and a plain account of how much of it was used."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their explanations."""
        return build(
            io.Schema,
            node_id="PalateLoadAlignedLora",
            display_name="Load Aligned LoRA",
            category=sockets.CATEGORY,
            description="Applies a LoRA, gives the words it was aligned with, and says how many of its tensors fit.",
            search_aliases=["lora", "srpo", "dpo", "preference", "palate"],
            inputs=[
                build(io.Model.Input, "model", tooltip="The model that the LoRA was made for."),
                sockets.lora(),
                sockets.strength(
                    "strength_model",
                    "How strongly it changes the model. 0 is the model itself, negative turns away.",
                ),
                sockets.strength(
                    "strength_clip",
                    "How strongly it changes the text encoder, for the LoRAs that have a part for it.",
                ),
                build(io.Clip.Input, "clip", optional=True, tooltip="The text encoder, if the LoRA has a part for it."),
                sockets.words(),
            ],
            outputs=[
                build(io.Model.Output, "patched_model", display_name="model", tooltip="The model with the LoRA."),
                build(io.Clip.Output, "patched_clip", display_name="clip", tooltip="The text encoder with the LoRA."),
                build(
                    io.String.Output,
                    "positive_word",
                    display_name="positive word",
                    tooltip="What it was aligned towards, ready for a prompt.",
                ),
                build(
                    io.String.Output,
                    "negative_word",
                    display_name="negative word",
                    tooltip="What it was aligned away from, ready for a negative prompt.",
                ),
                build(
                    io.String.Output,
                    "info",
                    display_name="info",
                    tooltip="Tensors used, method, base, words, recommended strength, warnings.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model: Any, lora_name: str, strength_model: float, strength_clip: float, clip: Any = None,
        words: str = "both",
    ) -> io.NodeOutput:  # fmt: skip
        """Read, apply, report."""
        lora = lora_files.read(lora_name)
        patched, patched_clip, report = applying.apply(model, clip, lora, strength_model, strength_clip)
        pair = chosen(lora.about.first, words)
        return io.NodeOutput(patched, patched_clip, pair.positive, pair.negative, report, ui=ui.PreviewText(report))
