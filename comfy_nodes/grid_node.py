"""What the two nodes that draw grids have in common: every cell is sampled with the same settings and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import comfy.samplers
import node_helpers
from comfy_api.latest import io, ui
from torch import Tensor, cat

from . import applying, encoding, lora_files, sockets
from .compat import build
from .logic import columns, grid
from .logic.conditioning import Conditioning
from .lora_node import LoraNode
from .sampling import Sampler, progress_of

LARGEST_SEED = 0xFFFFFFFFFFFFFFFF
MOST_SEEDS = 8
FRAME_RATE = 16  # frames per second of a clip's preview


@dataclass(frozen=True)
class Speech:
    """What is said in every cell, and how. guidance: a distilled model's own input, 0 leaves it to the model."""

    prompt: str
    negative_prompt: str
    way: str
    start: float
    end: float
    guidance: float


@dataclass(frozen=True)
class Scene:
    """What a take is sampled with."""

    model: Any
    positive: Conditioning
    negative: Conditioning


class GridNode(LoraNode):
    """Rows are seeds, columns are takes of which the first is the base."""

    @classmethod
    def validate_inputs(
        cls, lora_name: str | None = None, words: str | None = None, strengths: str | None = None
    ) -> bool | str:
        """True, or the sentence that the user reads before anything is loaded. Words are lines here, and free."""
        try:
            columns.read_strengths("1" if strengths is None else strengths)
        except ValueError as error:
            return str(error)
        return super().validate_inputs(lora_name)

    @classmethod
    def fill(
        cls, model: Any, clip: Any, shown: Sequence[columns.Column], seeds: Sequence[int], speech: Speech,
        sampler: Sampler,
    ) -> io.NodeOutput:  # fmt: skip
        """Every cell, the labelled grid and its account. Equal takes are sampled once."""
        grid.check_cells(len(shown), len(seeds))
        rows = [(f"seed {seed}",) for seed in seeds]
        labels = [column.label for column in shown]
        scenes, account = set_scenes(model, clip, shown, speech)
        latents, pictures = {}, {}
        jobs = [(take, seed) for take in scenes for seed in seeds]
        for place, (take, seed) in enumerate(jobs):
            scene = scenes[take]
            with progress_of(place, len(jobs)):
                latents[take, seed] = sampler.sample(scene.model, scene.positive, scene.negative, seed)
            if not place:  # before hours are spent: is it a size that can be drawn?
                pictures[take, seed] = sampler.decode(latents[take, seed])
                grid.lay_out(tuple(pictures[take, seed].shape[:3]), labels, rows)
        for job in jobs[1:]:  # all after all sampling, so that model and VAE change places in memory once
            pictures[job] = sampler.decode(latents[job])
        cells = [pictures[column.take, seed] for seed in seeds for column in shown]
        picture = grid.draw(cells, labels, rows)
        named = "\n".join(f"{row}: {', '.join(label)}" for (row,) in rows for label in labels)
        counted = f"{len(shown)} columns × {len(seeds)} rows, {len(jobs)} of {len(cells)} cells sampled"
        return io.NodeOutput(picture, cat(cells), named, f"{counted}\n\n{account}", ui=cls.preview(picture))

    @classmethod
    def preview(cls, picture: Tensor) -> Any:
        """A picture as PNG, a clip as WebP that plays; both in the folder for what is temporary."""
        if len(picture) == 1:
            return ui.PreviewImage(picture, cls=cls)
        saved = ui.ImageSaveHelper.save_animated_webp(
            picture, "palate_grid", io.FolderType.temp, cls, fps=FRAME_RATE, lossless=False, quality=90, method=0
        )
        return ui.SavedImages([saved], is_animated=True)


def set_scenes(
    model: Any, clip: Any, shown: Sequence[columns.Column], speech: Speech
) -> tuple[dict[columns.Take, Scene], str]:
    """Patches and encodes everything before anything is sampled, each LoRA and each text as rarely as possible."""
    plain = encoding.encoder(clip)

    @cache
    def patch(lora_name: str, strength: float) -> tuple[Any, Any, str]:
        if not lora_name:
            return model, plain, ""
        lora = lora_files.read(lora_name)
        patched, patched_clip, report = applying.apply(model, clip, lora, strength, strength)
        encode = encoding.encoder(patched_clip) if applying.changes_text(clip, lora) else plain
        return patched, encode, report

    scenes, account = {}, []
    for take in dict.fromkeys(column.take for column in shown):
        patched, encode, report = patch(take.lora_name, take.strength)
        words = [take.words]
        sent = encoding.say(
            clip, speech.way, speech.prompt, speech.negative_prompt, words, speech.start, speech.end, encode
        )
        scenes[take] = Scene(patched, _guided(sent.positive, speech), _guided(sent.negative, speech))
        account += [report, encoding.account(speech.way, sent, words)]
    return scenes, "\n\n".join(dict.fromkeys(filter(None, account)))


def _guided(conditioning: Conditioning, speech: Speech) -> Conditioning:
    if not speech.guidance:
        return conditioning
    return node_helpers.conditioning_set_values(conditioning, {"guidance": speech.guidance})


def seeds_from(seed: int, count: int) -> list[int]:
    """That many in a row; after the largest comes 0."""
    return [(seed + index) % (LARGEST_SEED + 1) for index in range(count)]


def beginning() -> list[Any]:
    """Inputs of both nodes: what is compared, on what."""
    return [
        build(io.Model.Input, "model", tooltip="The base, which is the first column."),
        build(io.Clip.Input, "clip", tooltip="Its text encoder."),
        build(io.Vae.Input, "vae", tooltip="Its VAE, which decodes every cell."),
        build(
            io.Latent.Input, "latent_image",
            tooltip="One latent, empty or a picture to begin from. Every cell begins with it.",
        ),
        *sockets.prompts(),
        sockets.lora(),
        build(
            io.String.Input, "strengths", default="0.5, 1, 1.5",
            tooltip="One column each, with commas between them. 0 is the model without the LoRA, negative turns away.",
        ),
    ]  # fmt: skip


def settings() -> list[Any]:
    """Inputs of both nodes: how words are applied, and KSampler's."""
    kinds = comfy.samplers.KSampler
    return [
        *sockets.way(),
        build(
            io.Int.Input, "seed", default=0, min=0, max=LARGEST_SEED, control_after_generate=True,
            tooltip="The noise of the first row, the same in all of its cells.",
        ),
        build(
            io.Int.Input, "seeds", default=1, min=1, max=MOST_SEEDS,
            tooltip="How many rows: seed, seed + 1 and so on.",
        ),
        build(io.Int.Input, "steps", default=20, min=1, max=10000, tooltip="KSampler's steps."),
        build(
            io.Float.Input, "cfg", default=8.0, min=0.0, max=100.0, step=0.1,
            tooltip="KSampler's classifier-free guidance; 1 is without, as distilled models want it.",
        ),
        build(io.Combo.Input, "sampler_name", options=list(kinds.SAMPLERS), tooltip="KSampler's sampler."),
        build(io.Combo.Input, "scheduler", options=list(kinds.SCHEDULERS), tooltip="KSampler's scheduler."),
        build(
            io.Float.Input, "denoise", default=1.0, min=0.0, max=1.0, step=0.01, advanced=True,
            tooltip="KSampler's denoise: below 1 keeps something of the latent's picture.",
        ),
        build(
            io.Float.Input, "guidance", default=0.0, min=0.0, max=100.0, step=0.1, advanced=True,
            tooltip="FluxGuidance's number, on both prompts, for distilled models. 0 leaves it to the model.",
        ),
    ]  # fmt: skip


def outputs() -> list[Any]:
    """Outputs of both nodes."""
    return [
        build(
            io.Image.Output, "grid", display_name="grid",
            tooltip="All cells with their labels: a picture, or a clip that plays in step.",
        ),
        build(
            io.Image.Output, "images", display_name="images",
            tooltip="The cells alone, row by row; of clips, frame by frame.",
        ),
        build(
            io.String.Output, "labels", display_name="labels",
            tooltip="One line for every cell, in the order of the images.",
        ),
        build(
            io.String.Output, "info", display_name="info",
            tooltip="What was sampled, how much of the LoRA was used, and its words.",
        ),
    ]  # fmt: skip
