"""The node Load Preference Model."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from . import model_files, scorer_files
from .compat import build
from .logic.pictures import GEOMETRIES
from .scoring_node import CATEGORY, scorer_output

AS_FILE = "as the file says"
FILES = model_files.of_kind(
    "preference model",
    "`palate reward export-comfyui` writes HPSv2.1 there, and a whole CLIP such as PickScore can be copied there",
)


class LoadPreferenceModel(io.ComfyNode):
    """One file with both parts of a CLIP that learned what people like."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their explanations."""
        return build(
            io.Schema,
            node_id="PalateLoadPreferenceModel",
            display_name="Load Preference Model",
            category=CATEGORY,
            description="Loads HPSv2.1, PickScore or another whole CLIP from models/palate, to score pictures with.",
            search_aliases=["hpsv2", "pickscore", "reward model", "aesthetic", "palate"],
            inputs=[
                build(
                    io.Combo.Input, "model_name", options=FILES.names(),
                    tooltip="A .safetensors file in models/palate. `palate reward export-comfyui` writes HPSv2.1.",
                ),
                build(
                    io.Combo.Input, "geometry", options=[AS_FILE, *GEOMETRIES], default=AS_FILE, advanced=True,
                    tooltip="How pictures that are no squares become one. pad: black around (HPSv2.1's own). "
                    "crop: the middle (CLIP, PickScore). stretch. It should be what training used.",
                ),
            ],
            outputs=[scorer_output()],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, model_name: str | None = None) -> bool | str:
        """True, or the sentence that the user reads. Older servers do not check dropdowns themselves."""
        return FILES.refusal(model_name)

    @classmethod
    def fingerprint_inputs(cls, model_name: str | None = None, geometry: str = AS_FILE) -> tuple[object, ...]:
        """A file that was written anew is loaded anew."""
        return (FILES.stamp(model_name), geometry)

    @classmethod
    def execute(cls, model_name: str, geometry: str = AS_FILE) -> io.NodeOutput:
        """Read the file."""
        scorer = scorer_files.load(model_name, str(FILES.path(model_name)))
        return io.NodeOutput(scorer if geometry == AS_FILE else replace(scorer, geometry=geometry))
