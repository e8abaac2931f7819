"""The node that begins a Demo World picture."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..compat import build

CHANNELS, SIDE = 4, 16  # four pixels a latent: core's own node counts eight


class DemoWorldLatent(io.ComfyNode):
    """Empty latents of 64 x 64 pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their words."""
        return build(
            io.Schema,
            node_id="PalateDemoWorldLatent",
            display_name="Empty Demo World Latent (Palate)",
            category="preference/demo",
            description="Empty latents for the Demo World, 64 x 64 pixels, the size that it was trained on.",
            inputs=[build(io.Int.Input, "batch_size", default=1, min=1, max=256, tooltip="How many pictures at once.")],
            outputs=[build(io.Latent.Output, "latent", display_name="latent", tooltip="For KSampler, with denoise 1.")],
        )

    @classmethod
    def execute(cls, batch_size: int) -> io.NodeOutput:
        """Zeros; the sampler adds the noise."""
        return io.NodeOutput({"samples": torch.zeros(batch_size, CHANNELS, SIDE, SIDE)})
