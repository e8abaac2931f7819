"""Example workflows that compare: grids, scores, the best of several, candidates for a blind choice."""

from __future__ import annotations

from typing import Any

from toolkit.comfyui import drawing
from toolkit.comfyui.example_parts import DEMO, SECOND, STRAWBERRY, TAUGHT, WORDS, encoded, needed_by_demo
from toolkit.comfyui.families import Loaded
from toolkit.comfyui.graph import Graph, Socket

SCORER = "hpsv21.safetensors"  # what `palate reward export-comfyui` writes
CLIP = "clip-vit-large-patch14.safetensors"  # the whole model; each loader takes its part
TIGER = "a tiger face on a yellow background"
SAMPLING = {"seed": 42, "steps": 20, "cfg": 2.5, "sampler_name": "euler", "scheduler": "simple"}


def strength_sweep() -> Graph:
    """Strength Sweep: one LoRA from without to beyond, three seeds."""
    graph = Graph("strength_sweep")
    _compared(graph, "PalateStrengthSweep", strengths="0.5, 1, 1.5", word_strength=0.0, seeds=3)
    graph.note(
        "A column for the base and one for each of `strengths`, a row for each of `seeds`. `word_strength` 0 leaves "
        "the words out, so that the LoRA alone is seen.\n\n" + needed_by_demo(TAUGHT)
    )
    return graph


def compare_grid() -> Graph:
    """Compare Grid: two LoRAs, each without and with its words."""
    graph = Graph("compare_grid")
    second = graph.add("PalateChainLora", lora_name=SECOND)
    _compared(graph, "PalateCompareGrid", strengths="1", words="off\nown", seeds=2, loras=second["loras"])
    graph.note(
        "Columns: the base, then every LoRA with every strength and every line of `words`: `off`, `own`, or "
        "`positive / negative`.\n\n" + needed_by_demo(TAUGHT, SECOND)
    )
    return graph


def load_preference_model() -> Graph:
    """Load Preference Model: HPSv2.1 scores four pictures for their prompt."""
    graph = Graph("load_preference_model")
    pictures = _base(graph, drawing.load(graph, DEMO), batch=4)
    graph.add("PalatePreferenceScore", scorer=_scorer(graph), images=pictures, prompt=STRAWBERRY)
    drawing.save(graph, pictures)
    graph.note("Without words the score is that of the prompt.\n\n" + _needed())
    return graph


def clip_preference_model() -> Graph:
    """CLIP as Preference Model: core loads both parts of a CLIP."""
    graph = Graph("clip_preference_model")
    pictures = _base(graph, drawing.load(graph, DEMO), batch=4)
    vision = graph.add("CLIPVisionLoader", clip_name=CLIP)
    text = graph.add("CLIPLoader", clip_name=CLIP, type="stable_diffusion")
    scorer = graph.add("PalateClipPreferenceModel", clip_vision=vision["CLIP_VISION"], clip=text["CLIP"])
    graph.add("PalatePreferenceScore", scorer=scorer["scorer"], images=pictures, prompt=STRAWBERRY)
    drawing.save(graph, pictures)
    graph.note(
        "Both parts are of one model, here OpenAI's: its `model.safetensors`, whole, in two folders. The `clip_l` that "
        "is published for FLUX.1 lacks the projection that a score needs.\n\n"
        f"- `models/clip_vision/{CLIP}`\n- `models/text_encoders/{CLIP}`\n\n" + needed_by_demo()
    )
    return graph


def preference_score() -> Graph:
    """Preference Score: does the LoRA bring what its words say? The base's picture beside its own."""
    graph = Graph("preference_score")
    loaded = drawing.load(graph, DEMO)
    both = graph.add("ImageBatch", image1=_base(graph, loaded), image2=_aligned(graph, loaded))["IMAGE"]
    graph.add(
        "PalatePreferenceScore", scorer=_scorer(graph), images=both, prompt=STRAWBERRY, positive_word=WORDS[0],
        negative_word=WORDS[1],
    )  # fmt: skip
    drawing.save(graph, both)
    graph.note(
        "With both words the score is that of “positive. prompt” minus that of “negative. prompt”, as in training. "
        "Image 0 is the base's, image 1 the LoRA's.\n\n" + _needed(TAUGHT)
    )
    return graph


def pick_best() -> Graph:
    """Pick Best: the three best of nine."""
    graph = Graph("pick_best")
    pictures = _base(graph, drawing.load(graph, DEMO), batch=9)
    best = graph.add("PalatePickBest", scorer=_scorer(graph), images=pictures, prompt=STRAWBERRY, keep=3)
    drawing.save(graph, best["images"])
    graph.note(
        "`keep` is how many are saved, best first. Connect the sampler's latents, too, where the best shall be drawn "
        "on.\n\n" + _needed()
    )
    return graph


def save_for_arena() -> Graph:
    """Save for Arena: the base's candidates and the LoRA's, from the same noise."""
    graph = Graph("save_for_arena")
    loaded = drawing.load(graph, DEMO)
    about = {"folder": f"palate/{graph.name}", "prompt": TIGER, "seed": DEMO.seed, "model_name": "demo"}
    words = dict(zip(("positive_word", "negative_word"), WORDS, strict=True))
    graph.add("PalateSaveForArena", images=_base(graph, loaded, TIGER, batch=4), **about)
    aligned = _aligned(graph, loaded, TIGER, batch=4)
    graph.add("PalateSaveForArena", images=aligned, lora_name=TAUGHT, **words, **about)
    graph.note(
        "The folder lies in ComfyUI's output folder. Candidates of one prompt are compared, whichever graph drew "
        "them.\n\n" + needed_by_demo(TAUGHT)
    )
    return graph


def _compared(graph: Graph, kind: str, **inputs: Any) -> None:
    """A node that draws grids, and the file of its grid."""
    loaded = drawing.load(graph, DEMO)
    grid = graph.add(
        kind, model=loaded.model, clip=loaded.clip, vae=loaded.vae, latent_image=graph.add(DEMO.about.latent)[0],
        prompt=STRAWBERRY, lora_name=TAUGHT, **SAMPLING, **inputs,
    )  # fmt: skip
    drawing.save(graph, grid["grid"])


def _base(graph: Graph, loaded: Loaded, prompt: str = STRAWBERRY, batch: int = 1) -> Socket:
    """Pictures without any LoRA."""
    return drawing.draw(graph, DEMO, loaded, *encoded(graph, loaded, prompt, ""), batch)


def _aligned(graph: Graph, loaded: Loaded, prompt: str = STRAWBERRY, batch: int = 1) -> Socket:
    """Pictures by Aligned Prompt, words as in training."""
    made = graph.add("PalateAlignedPrompt", model=loaded.model, clip=loaded.clip, prompt=prompt, lora_name=TAUGHT)
    patched = Loaded(made["model"], loaded.clip, loaded.vae)
    return drawing.draw(graph, DEMO, patched, made["positive"], made["negative"], batch)


def _scorer(graph: Graph) -> Socket:
    return graph.add("PalateLoadPreferenceModel", model_name=SCORER)["scorer"]


def _needed(lora: str = drawing.NO_LORA) -> str:
    """Markdown: the scorer's file, then the demo's."""
    written = f"`palate reward export-comfyui HPS_v2.1_compressed.pt --output {SCORER}` writes HPSv2.1:"
    return f"{written}\n\n- `models/palate/{SCORER}`\n\n{needed_by_demo(lora)}"
