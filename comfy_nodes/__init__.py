"""Palate's ComfyUI pack. Nothing of ComfyUI is imported here, so that `comfy_nodes.header` can be used anywhere."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """What ComfyUI calls once at its start: the extension with all nodes that this ComfyUI can have."""
    from .extension import PalateExtension

    return PalateExtension()
