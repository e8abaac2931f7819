"""The node Strength Sweep."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import grid_node, sockets
from .chain import Link
from .compat import build
from .grid_node import GridNode, Speech, seeds_from
from .logic import columns
from .sampling import Sampler


class StrengthSweep(GridNode):
    """The base, then one LoRA at every strength, on the same seeds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their explanations."""
        return build(
            io.Schema,
            node_id="PalateStrengthSweep",
            display_name="Strength Sweep",
            category=sockets.CATEGORY,
            description="Draws the base and a LoRA at several strengths side by side, same seed and settings.",
            search_aliases=["xy plot", "grid", "lora strength", "palate"],
            is_output_node=True,
            inputs=[*grid_node.beginning(), sockets.word_strength(), *grid_node.settings()],
            outputs=grid_node.outputs(),
        )

    @classmethod
    def execute(
        cls, model: Any, clip: Any, vae: Any, latent_image: Any, prompt: str, negative_prompt: str, lora_name: str,
        strengths: str, word_strength: float, way: str, start: float, end: float, seed: int, seeds: int, steps: int,
        cfg: float, sampler_name: str, scheduler: str, denoise: float, guidance: float,
    ) -> io.NodeOutput:  # fmt: skip
        """Its own words at one strength in every column but the base's."""
        compared = columns.Compared(lora_name, 1.0, Link(lora_name, 1.0, 1.0).spoken())
        shown = columns.plan([compared], columns.read_strengths(strengths), [None], word_strength)
        speech = Speech(prompt, negative_prompt, way, start, end, guidance)
        sampler = Sampler(vae, latent_image, steps, cfg, sampler_name, scheduler, denoise)
        return cls.fill(model, clip, shown, seeds_from(seed, seeds), speech, sampler)
