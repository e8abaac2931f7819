"""One picture of a family as a graph: loaders, Aligned Prompt with the LoRA, sampler, decoder, file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.comfyui import families
from toolkit.comfyui.families import Family, Loaded, Size
from toolkit.comfyui.graph import Graph, Socket

NO_LORA = "none"


@dataclass(frozen=True)
class Drawing:
    """What is drawn. Everything that is left out is the family's own.

    `files` names parts of the base that differ from the published ones; `start` is a LoRA below the first, with its
    strength. word_strength 0 leaves the LoRA's words out, 1 puts them before the prompts as in training.
    """

    family: str
    prompt: str
    negative_prompt: str = ""
    lora: str = NO_LORA
    strength: float = 1.0
    start: tuple[str, float] | None = None
    word_strength: float = 0.0
    seed: int = 42
    steps: int | None = None
    guidance_scale: float | None = None
    size: Size | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def about(self) -> Family:
        """How its family is drawn. Raises UsageError for one that core's nodes do not draw."""
        return families.get(self.family)

    @property
    def name(self) -> str:
        """What its files are called."""
        return self.family if self.lora == NO_LORA else Path(self.lora).stem

    def places(self) -> list[str]:
        """Every file that it needs, as a path in ComfyUI's folder."""
        rows = [(self.about.folders[part], name) for part, name in self.file_names().items()]
        rows += [("loras", name) for name in (self.lora, *(self.start or ())[:1]) if name != NO_LORA]
        return [f"models/{folder}/{name}" for folder, name in rows]

    def file_names(self) -> dict[str, str]:
        """Part of the base → its file."""
        return {**self.about.files, **self.files}


def graph(drawing: Drawing, name: str) -> Graph:
    """The whole graph, with a note that says which files go where; pictures are saved under `name`."""
    made = Graph(name)
    loaded = load(made, drawing)
    below: dict[str, Any] = {}
    if drawing.start:
        name_below, strength_below = drawing.start
        chained = made.add("PalateChainLora", lora_name=name_below, strength=strength_below, word_strength=0.0)
        below["loras"] = chained["loras"]
    prompted = made.add(
        "PalateAlignedPrompt", model=loaded.model, clip=loaded.clip, prompt=drawing.prompt,
        negative_prompt=drawing.negative_prompt, lora_name=drawing.lora, strength=drawing.strength,
        word_strength=drawing.word_strength, **below,
    )  # fmt: skip
    sample(made, drawing, Loaded(prompted["model"], loaded.clip, loaded.vae), prompted["positive"],
           prompted["negative"])  # fmt: skip
    made.note(needed(drawing))
    return made


def load(graph: Graph, drawing: Drawing) -> Loaded:
    """The base's parts."""
    return drawing.about.load(graph, drawing.file_names())


def sample(graph: Graph, drawing: Drawing, loaded: Loaded, positive: Socket, negative: Socket, batch: int = 1) -> None:
    """From prompts to a file."""
    pictures = draw(graph, drawing, loaded, positive, negative, batch)
    if drawing.about.fps:
        video = graph.add("CreateVideo", images=pictures, fps=drawing.about.fps)["VIDEO"]
        graph.add("SaveVideo", video=video, filename_prefix=f"palate/{graph.name}")
    else:
        save(graph, pictures)


def save(graph: Graph, pictures: Socket) -> None:
    """As files under the graph's name."""
    graph.add("SaveImage", images=pictures, filename_prefix=f"palate/{graph.name}")


def draw(graph: Graph, drawing: Drawing, loaded: Loaded, positive: Socket, negative: Socket, batch: int = 1) -> Socket:
    """From prompts to pictures: noise levels, latents, guidance, sampler, decoder."""
    about = drawing.about
    size = drawing.size or about.size
    guidance = drawing.guidance_scale if drawing.guidance_scale is not None else about.guidance_scale
    if about.embedded:
        positive = graph.add("FluxGuidance", conditioning=positive, guidance=guidance)["CONDITIONING"]
    sampled = graph.add(
        "KSampler", model=about.shift(graph, loaded.model, size) if about.shift else loaded.model, positive=positive,
        negative=negative, latent_image=_latent(graph, about, size, batch), seed=drawing.seed,
        steps=drawing.steps or about.steps, cfg=1.0 if about.embedded else guidance, sampler_name="euler",
        scheduler=about.scheduler, denoise=1.0,
    )  # fmt: skip
    return graph.add("VAEDecode", samples=sampled["LATENT"], vae=loaded.vae)["IMAGE"]


def _latent(graph: Graph, about: Family, size: Size, batch: int) -> Socket:
    width, height, frames = size
    given: dict[str, Any] = {"batch_size": batch}
    if about.latent != "PalateDemoWorldLatent":
        given |= {"width": width, "height": height}
    if about.fps:
        given["length"] = frames
    return graph.add(about.latent, **given)[0]


def needed(drawing: Drawing) -> str:
    """Markdown: which files go where."""
    about = drawing.about
    lines = "\n".join(f"- `{place}`" for place in drawing.places())
    writes = "\n\n`palate demo --export-comfyui` writes the Demo World." if drawing.family == "demo" else ""
    return f"**{about.title}** needs these files; choose yours where they are called otherwise.\n\n{lines}{writes}"
