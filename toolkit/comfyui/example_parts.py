"""What the example workflows on the Demo World begin with: their LoRAs, their prompt, the note about their files."""

from __future__ import annotations

from toolkit.comfyui import drawing
from toolkit.comfyui.drawing import NO_LORA, Drawing
from toolkit.comfyui.families import Loaded
from toolkit.comfyui.graph import Graph, Socket

TAUGHT = "3d-render.safetensors"  # what `palate demo` makes; the file of that name
SECOND = "3d-render-dpo.safetensors"  # and `palate train demo-dpo`
WORDS = ("3d render", "line art")  # both were aligned with
STRAWBERRY = "a strawberry on a blue background"
DEMO = Drawing("demo", STRAWBERRY, lora=TAUGHT, word_strength=1.0)


def encoded(graph: Graph, loaded: Loaded, positive: str | Socket, negative: str | Socket) -> tuple[Socket, Socket]:
    """Both prompts by core's node."""
    positive_node = graph.add("CLIPTextEncode", text=positive, clip=loaded.clip)
    negative_node = graph.add("CLIPTextEncode", text=negative, clip=loaded.clip)
    return positive_node["CONDITIONING"], negative_node["CONDITIONING"]


def needed_by_demo(lora: str = NO_LORA, second: str = NO_LORA) -> str:
    """Markdown: which files go where."""
    start = None if second == NO_LORA else (second, 1.0)
    return drawing.needed(Drawing("demo", "", lora=lora, start=start))
