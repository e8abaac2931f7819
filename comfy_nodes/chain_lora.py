"""The node Chain Aligned LoRA."""

from __future__ import annotations

from comfy_api.latest import io

from . import sockets
from .chain import Chain, Link
from .compat import build
from .logic.words import Pair
from .lora_node import LoraNode


class ChainLora(LoraNode):
    """One more LoRA for Aligned Prompt, with its own strength and words."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their explanations."""
        return build(
            io.Schema,
            node_id="PalateChainLora",
            display_name="Chain Aligned LoRA",
            category=sockets.CATEGORY,
            description="Adds a LoRA to the row that Aligned Prompt applies, with its own strength and words.",
            search_aliases=["lora stack", "palate"],
            inputs=[
                sockets.lora(),
                sockets.strength("strength", "How strongly it changes model and text encoder."),
                sockets.word_strength(),
                build(
                    io.String.Input,
                    "positive_word",
                    default="",
                    tooltip="Instead of the positive word in the file.",
                ),
                build(
                    io.String.Input,
                    "negative_word",
                    default="",
                    tooltip="Instead of the negative word in the file.",
                ),
                build(sockets.Loras.Input, "loras", optional=True, tooltip="The LoRAs before this one."),
                sockets.words(),
            ],
            outputs=[
                build(
                    sockets.Loras.Output,
                    "chain",
                    display_name="loras",
                    tooltip="For Aligned Prompt, or for one more of these.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, lora_name: str, strength: float, word_strength: float,
        positive_word: str = "", negative_word: str = "", loras: Chain | None = None,
        words: str = "both",
    ) -> io.NodeOutput:  # fmt: skip
        """The row, one longer."""
        typed = Pair(positive_word.strip(), negative_word.strip())
        return io.NodeOutput((*(loras or ()), Link(lora_name, strength, word_strength, typed, words)))
