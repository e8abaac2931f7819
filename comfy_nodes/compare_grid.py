"""The node Compare Grid."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import grid_node, sockets
from .chain import Chain, Link
from .compat import build
from .grid_node import GridNode, Speech, seeds_from
from .logic import columns
from .sampling import Sampler


class CompareGrid(GridNode):
    """The base, then every LoRA at every strength with every pair of words, on the same seeds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their explanations."""
        return build(
            io.Schema,
            node_id="PalateCompareGrid",
            display_name="Compare Grid",
            category=sockets.CATEGORY,
            description="Draws the base and LoRAs at several strengths with several words, same seed and settings.",
            search_aliases=["xy plot", "compare lora", "words", "palate"],
            is_output_node=True,
            inputs=[
                *grid_node.beginning(),
                build(
                    io.String.Input,
                    "words",
                    default="off\nown",
                    multiline=True,
                    tooltip="One column each: `positive / negative`, `off` for none, `own` for the LoRA's own.",
                ),
                sockets.word_strength(),
                *grid_node.settings(),
                build(
                    sockets.Loras.Input,
                    "loras",
                    optional=True,
                    tooltip="More LoRAs to compare, each for itself. Their strengths multiply those here.",
                ),
            ],
            outputs=grid_node.outputs(),
        )

    @classmethod
    def execute(
        cls, model: Any, clip: Any, vae: Any, latent_image: Any, prompt: str, negative_prompt: str, lora_name: str,
        strengths: str, words: str, word_strength: float, way: str, start: float, end: float, seed: int, seeds: int,
        steps: int, cfg: float, sampler_name: str, scheduler: str, denoise: float, guidance: float,
        loras: Chain | None = None,
    ) -> io.NodeOutput:  # fmt: skip
        """LoRAs × strengths × words."""
        chain = (Link(lora_name, 1.0, 1.0), *(loras or ()))
        compared = [columns.Compared(link.lora_name, link.strength, link.spoken()) for link in chain]
        variants = columns.read_variants(words)
        shown = columns.plan(compared, columns.read_strengths(strengths), variants, word_strength)
        speech = Speech(prompt, negative_prompt, way, start, end, guidance)
        sampler = Sampler(vae, latent_image, steps, cfg, sampler_name, scheduler, denoise)
        return cls.fill(model, clip, shown, seeds_from(seed, seeds), speech, sampler)
