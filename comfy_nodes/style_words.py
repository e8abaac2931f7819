"""The node Style Words."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from . import encoding, lora_files, sockets
from .compat import build
from .logic.words import Pair, Spoken, chosen, library
from .lora_node import LoraNode

SOURCES = ("LoRA", "library", "typed")


class StyleWords(LoraNode):
    """Words into a prompt, in one of several ways."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their explanations."""
        return build(
            io.Schema,
            node_id="PalateStyleWords",
            display_name="Style Words",
            category=sockets.CATEGORY,
            description="Applies a pair of words to a prompt: those of a LoRA, of the library, or typed.",
            search_aliases=["trigger words", "style", "palate"],
            inputs=[
                build(io.Clip.Input, "clip", tooltip="The text encoder."),
                *sockets.prompts(),
                build(
                    io.Combo.Input,
                    "source",
                    options=list(SOURCES),
                    default="LoRA",
                    tooltip="Where the words come from.",
                ),
                sockets.lora(optional=True),
                build(
                    io.Int.Input,
                    "pair",
                    default=1,
                    min=1,
                    max=16,
                    advanced=True,
                    tooltip="Which of the LoRA's word pairs, the first is 1.",
                ),
                build(
                    io.Combo.Input,
                    "library_pair",
                    options=list(library()),
                    tooltip="A pair of the library, positive / negative.",
                ),
                build(
                    io.String.Input,
                    "positive_word",
                    default="",
                    tooltip="Typed: what pictures should be more like.",
                ),
                build(io.String.Input, "negative_word", default="", tooltip="Typed: what they should be less like."),
                *sockets.way(),
                sockets.word_strength(),
                sockets.words(),
            ],
            outputs=sockets.conditionings(),
        )

    @classmethod
    def execute(
        cls, clip: Any, prompt: str, negative_prompt: str, source: str, lora_name: str, pair: int, library_pair: str,
        positive_word: str, negative_word: str, way: str, start: float, end: float, word_strength: float,
        words: str = "both",
    ) -> io.NodeOutput:  # fmt: skip
        """Find the words, say them, show what was said."""
        if source == "LoRA":
            found = _of_lora(lora_name, pair)
        elif source == "library":
            found = library()[library_pair]
        else:
            found = Pair(positive_word.strip(), negative_word.strip())
        spoken = [Spoken(chosen(found, words), word_strength)]
        sent = encoding.say(clip, way, prompt, negative_prompt, spoken, start, end)
        info = encoding.account(way, sent, spoken)
        return io.NodeOutput(
            sent.positive, sent.negative, sent.positive_text, sent.negative_text, info,
            ui=ui.PreviewText(f"{sent.positive_text}\n\n{sent.negative_text}\n\n{info}"),
        )  # fmt: skip


def _of_lora(name: str, pair: int) -> Pair:
    """The pair of that number, none for a LoRA without words. Raises ValueError for a number that is too high."""
    pairs = () if name == lora_files.NONE else lora_files.read_about(name).pairs
    if not pairs:
        return Pair()
    if pair > len(pairs):
        raise ValueError(f"{name} has no word pair number {pair}. Choose 1 to {len(pairs)}.")
    return pairs[pair - 1]
