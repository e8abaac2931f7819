"""The node that loads Palate's embedded model."""

from __future__ import annotations

from comfy_api.latest import io

from .. import model_files
from ..compat import build
from ..named_files import Stamp

FILES = model_files.of_kind(
    "Demo World", "`palate demo --export-comfyui` with ComfyUI's folder writes the Demo World there"
)


class DemoWorldLoader(io.ComfyNode):
    """File → MODEL, CLIP, VAE; everything else is core's."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their words."""
        return build(
            io.Schema,
            node_id="PalateDemoWorldLoader",
            display_name="Load Demo World (Palate)",
            category="preference/demo",
            description="Palate's embedded model: a small FLUX that draws emoji of 64 x 64 in a second, even on a CPU. "
            "KSampler with euler, simple, 20 steps, cfg 2.5; LoRAs trained on it load with core's loaders.",
            inputs=[
                build(
                    io.Combo.Input,
                    "model_name",
                    options=FILES.names(),
                    tooltip="A file in models/palate. `palate demo --export-comfyui` writes it.",
                )
            ],
            outputs=[
                build(io.Model.Output, "model", display_name="model", tooltip="For KSampler and LoRA loaders."),
                build(
                    io.Clip.Output, "clip", display_name="clip", tooltip="For CLIP Text Encode, which reads 18 tokens."
                ),
                build(io.Vae.Output, "vae", display_name="vae", tooltip="For VAE Decode and VAE Encode."),
            ],
        )

    @classmethod
    def validate_inputs(cls, model_name: str | None = None) -> bool | str:
        """Releases that do not check dropdowns get the sentence from here."""
        return FILES.refusal(model_name)

    @classmethod
    def fingerprint_inputs(cls, model_name: str | None = None) -> Stamp | str:
        """A file that was written anew is loaded anew."""
        return FILES.stamp(model_name)

    @classmethod
    def execute(cls, model_name: str) -> io.NodeOutput:
        """Read the file."""
        from . import models  # ComfyUI's networks: only for those who use them

        return io.NodeOutput(*models.load(str(FILES.path(model_name))))
