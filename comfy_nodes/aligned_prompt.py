"""The node Aligned Prompt."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from . import applying, encoding, lora_files, sockets
from .chain import Chain, Link
from .compat import build
from .lora_node import LoraNode


class AlignedPrompt(LoraNode):
    """The usual case in one node: LoRAs onto the model, their words into the prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their explanations."""
        return build(
            io.Schema,
            node_id="PalateAlignedPrompt",
            display_name="Aligned Prompt",
            category=sockets.CATEGORY,
            description="Applies aligned LoRAs and their words: model and prompt in, ready for a sampler.",
            search_aliases=["lora", "prompt", "palate"],
            inputs=[
                build(io.Model.Input, "model", tooltip="The model that the LoRAs were made for."),
                build(io.Clip.Input, "clip", tooltip="Its text encoder."),
                *sockets.prompts(),
                sockets.lora(optional=True),
                sockets.strength("strength", "How strongly the LoRA changes model and text encoder. 0 is without it."),
                *sockets.way(),
                sockets.word_strength(),
                build(
                    sockets.Loras.Input,
                    "loras",
                    optional=True,
                    tooltip="More LoRAs from Chain Aligned LoRA, applied first.",
                ),
                sockets.words(),
            ],
            outputs=[
                build(io.Model.Output, "patched_model", display_name="model", tooltip="The model with all LoRAs."),
                *sockets.conditionings(),
            ],
        )

    @classmethod
    def execute(
        cls, model: Any, clip: Any, prompt: str, negative_prompt: str, lora_name: str, strength: float,
        way: str, start: float, end: float, word_strength: float, loras: Chain | None = None,
        words: str = "both",
    ) -> io.NodeOutput:  # fmt: skip
        """Every LoRA in its order, then the prompts with all words."""
        own = () if lora_name == lora_files.NONE else (Link(lora_name, strength, word_strength, words=words),)
        chain = (*(loras or ()), *own)
        reports = []
        for link in chain:
            lora = lora_files.read(link.lora_name)
            model, clip, report = applying.apply(model, clip, lora, link.strength, link.strength)
            reports.append(report)
        spoken = [link.spoken() for link in chain]
        sent = encoding.say(clip, way, prompt, negative_prompt, spoken, start, end)
        info = "\n\n".join([*reports, encoding.account(way, sent, spoken)])
        return io.NodeOutput(
            model, sent.positive, sent.negative, sent.positive_text, sent.negative_text, info,
            ui=ui.PreviewText(f"{sent.positive_text}\n\n{sent.negative_text}\n\n{info}"),
        )  # fmt: skip
