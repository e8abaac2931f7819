"""The table of nodes. One more node is one more line here, one file beside it and its test."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from comfy_api.latest import ComfyExtension

NODES = {
    "PalateAlignedPrompt": "aligned_prompt:AlignedPrompt",
    "PalateChainLora": "chain_lora:ChainLora",
    "PalateClipPreferenceModel": "clip_preference_model:ClipPreferenceModel",
    "PalateCompareGrid": "compare_grid:CompareGrid",
    "PalateDemoWorldLatent": "demo_world.latent:DemoWorldLatent",
    "PalateDemoWorldLoader": "demo_world.loader:DemoWorldLoader",
    "PalateLoadAlignedLora": "load_aligned_lora:LoadAlignedLora",
    "PalateLoadPreferenceModel": "load_preference_model:LoadPreferenceModel",
    "PalatePickBest": "pick_best:PickBest",
    "PalatePreferenceScore": "preference_score:PreferenceScore",
    "PalateSaveForArena": "save_for_arena:SaveForArena",
    "PalateStrengthSweep": "strength_sweep:StrengthSweep",
    "PalateStyleWords": "style_words:StyleWords",
}


class PalateExtension(ComfyExtension):
    """Hands ComfyUI the classes."""

    async def get_node_list(self) -> list[Any]:
        """Every node that can be had."""
        return available(NODES)


def available(table: dict[str, str]) -> list[Any]:
    """The classes of `table` (node id → "file:Class") whose file loads and whose schema this ComfyUI takes.

    One node that a release cannot have would take all others with it; so it is left out, with one line in the log.
    """
    found, missing = [], []
    for node_id, place in table.items():
        file, name = place.split(":")
        try:
            node = getattr(import_module(f".{file}", __package__), name)
            node.define_schema()
        except (ImportError, AttributeError, TypeError) as error:
            missing.append(f"{node_id} ({error})")
        else:
            found.append(node)
    if missing:
        logging.warning("Palate: this ComfyUI is too old for %s; the other nodes work.", ", ".join(missing))
    return found
