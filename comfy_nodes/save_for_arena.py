"""The node Save for Arena."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import comfy.cli_args
import comfy.model_management
import folder_paths
from comfy_api.latest import io, ui
from torch import Tensor

from .compat import build
from .logic import candidates, writing

MOST = 0xFFFF_FFFF_FFFF_FFFF  # seeds of core's samplers


class SaveForArena(io.ComfyNode):
    """Candidates for a blind choice: pictures or a clip, and a line about each."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and their explanations."""
        words = {"positive_word": "The positive word that was used, if any.",
                 "negative_word": "The negative word that was used, if any."}  # fmt: skip
        return build(
            io.Schema,
            node_id="PalateSaveForArena",
            display_name="Save for Arena",
            category="preference/arena",
            description="Saves candidates of a prompt for a blind choice in Palate, with what made them. "
            "Adds to the folder and overwrites nothing.",
            search_aliases=["save image", "compare", "preference pairs", "palate"],
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                build(io.Image.Input, "images", tooltip="Pictures of one prompt, or the frames of one clip."),
                build(
                    io.String.Input, "folder", default="arena",
                    tooltip="A folder in ComfyUI's output folder, such as arena or arena/foxes.",
                ),
                build(
                    io.String.Input, "prompt", default="", multiline=True, dynamic_prompts=True,
                    tooltip="What they were drawn from. Candidates of the same prompt are compared.",
                ),
                build(
                    io.Int.Input, "seed", default=0, min=0, max=MOST, tooltip="The sampler's seed.",
                    control_after_generate=False,  # else the page changes a number of this name after every run
                ),
                build(io.String.Input, "model_name", default="", tooltip="What drew them, as you will know it again."),
                build(io.String.Input, "lora_name", default="", tooltip="The LoRA on it; empty for the base alone."),
                *(build(io.String.Input, name, default="", tooltip=tip) for name, tip in words.items()),
                build(
                    io.Boolean.Input, "as_clip", default=False,
                    tooltip="On: the batch is one clip, saved as an animated .webp. Off: each is a picture, as .png.",
                ),
                build(
                    io.Float.Input, "fps", default=16.0, min=1.0, max=120.0, step=0.5, advanced=True,
                    tooltip="Frames a second of a clip.",
                ),
            ],
            outputs=[],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, images: Tensor, folder: str, prompt: str, seed: int, model_name: str, lora_name: str, positive_word: str,
        negative_word: str, as_clip: bool, fps: float,
    ) -> io.NodeOutput:  # fmt: skip
        """Each picture whole, then its line."""
        place = candidates.folder_in(Path(folder_paths.get_output_directory()), folder)
        place.mkdir(parents=True, exist_ok=True)
        said = {
            "prompt": prompt, "seed": seed, "model": model_name, "lora": lora_name,
            "positive": positive_word, "negative": negative_word,
        }  # fmt: skip
        names = []
        for index, frames in enumerate([images] if as_clip else images.split(1)):
            comfy.model_management.throw_exception_if_processing_interrupted()
            if as_clip:
                write, shown = partial(writing.clip, frames, fps), {"frames": len(frames), "fps": fps}
            else:
                write, shown = partial(writing.picture, frames, cls._about()), {}
            names.append(candidates.save(place, ".webp" if as_clip else ".png", write))
            candidates.append(place, [{**said, **shown, "picture": names[-1], "index": index}])
        shown_in = place.relative_to(folder_paths.get_output_directory()).as_posix()
        results = [ui.SavedResult(name, shown_in, io.FolderType.output) for name in names]
        return io.NodeOutput(ui=ui.SavedImages(results, is_animated=as_clip))

    @classmethod
    def _about(cls) -> dict[str, str]:
        """The workflow, as core's Save Image writes it into a picture, unless the server was told not to."""
        if comfy.cli_args.args.disable_metadata or cls.hidden is None:
            return {}
        prompt = {"prompt": cls.hidden.prompt} if cls.hidden.prompt else {}
        return {name: json.dumps(value) for name, value in {**prompt, **(cls.hidden.extra_pnginfo or {})}.items()}
