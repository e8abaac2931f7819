"""The example workflows that ship with the nodes: one function each, and the table. The name is the file's.

`python tests/comfy_nodes/test_example_workflows.py --write` renews comfy_nodes/example_workflows/*.json.
"""

from __future__ import annotations

from collections.abc import Callable

from toolkit.comfyui import drawing
from toolkit.comfyui.comparing_examples import (
    clip_preference_model,
    compare_grid,
    load_preference_model,
    pick_best,
    preference_score,
    save_for_arena,
    strength_sweep,
)
from toolkit.comfyui.drawing import Drawing
from toolkit.comfyui.example_parts import DEMO, SECOND, STRAWBERRY, TAUGHT, encoded, needed_by_demo
from toolkit.comfyui.families import Loaded
from toolkit.comfyui.graph import Graph, Socket


def demo_world() -> Graph:
    """Load Demo World, then nothing but core's nodes."""
    graph = Graph("demo_world")
    loaded = drawing.load(graph, DEMO)
    _draw(graph, loaded, *encoded(graph, loaded, f"3d render of {STRAWBERRY}", ""))
    graph.note("A small FLUX that draws emoji in a second, even on a CPU.\n\n" + needed_by_demo())
    return graph


def demo_world_latent() -> Graph:
    """Empty Demo World Latent: nine pictures at once."""
    graph = Graph("demo_world_latent")
    loaded = drawing.load(graph, DEMO)
    _draw(graph, loaded, *encoded(graph, loaded, "line art of a tiger face", ""), batch=9)
    graph.note("`batch_size` is the number of pictures.\n\n" + needed_by_demo())
    return graph


def load_aligned_lora() -> Graph:
    """Load Aligned LoRA: its words are joined to the prompts by hand, and its account is shown."""
    graph = Graph("load_aligned_lora")
    loaded = drawing.load(graph, DEMO)
    lora = graph.add("PalateLoadAlignedLora", model=loaded.model, clip=loaded.clip, lora_name=TAUGHT)
    positive = graph.add("StringConcatenate", string_a=lora["positive word"], string_b=STRAWBERRY, delimiter=". ")
    patched = Loaded(lora["model"], lora["clip"], loaded.vae)
    _draw(graph, patched, *encoded(graph, patched, positive["STRING"], lora["negative word"]))
    graph.add("PreviewAny", source=lora["info"], title="What was used")
    graph.note(
        "The node applies the LoRA, says how many of its tensors fit, and gives the words it was aligned with.\n\n"
        + needed_by_demo(TAUGHT)
    )
    return graph


def aligned_prompt() -> Graph:
    """Aligned Prompt: LoRA and words in one node."""
    graph = drawing.graph(DEMO, "aligned_prompt")
    graph.note("`word_strength` is how strongly the words speak: 0 not at all, 1 as in training.")
    return graph


def chain_aligned_lora() -> Graph:
    """Chain Aligned LoRA: two LoRAs, each with its own strength and words."""
    graph = Graph("chain_aligned_lora")
    loaded = drawing.load(graph, DEMO)
    first = graph.add("PalateChainLora", lora_name=TAUGHT, strength=0.6)
    second = graph.add("PalateChainLora", lora_name=SECOND, strength=0.6, word_strength=0.0, loras=first["loras"])
    prompted = graph.add(
        "PalateAlignedPrompt", model=loaded.model, clip=loaded.clip, prompt=STRAWBERRY, loras=second["loras"]
    )
    patched = Loaded(prompted["model"], loaded.clip, loaded.vae)
    _draw(graph, patched, prompted["positive"], prompted["negative"])
    graph.note(
        "Applied from the first to the last. The second has `word_strength` 0: it changes the model, "
        "and its words are left out.\n\n" + needed_by_demo(TAUGHT, SECOND)
    )
    return graph


def style_words() -> Graph:
    """Style Words: a pair of the library, without any LoRA."""
    graph = Graph("style_words")
    loaded = drawing.load(graph, DEMO)
    worded = graph.add(
        "PalateStyleWords", clip=loaded.clip, prompt=STRAWBERRY, source="library",
        library_pair="3d render / line art", way="average", word_strength=1.0,
    )  # fmt: skip
    _draw(graph, loaded, worded["positive"], worded["negative"])
    graph.note(
        "Words of the library, of a LoRA, or typed. With `average` their strength is a dial from 0, the plain prompt, "
        "over 1, the words as in training, to 2, beyond.\n\n" + needed_by_demo()
    )
    return graph


def flux_realistic_photo() -> Graph:
    """FLUX.1 with a LoRA aligned towards “Realistic photo”."""
    photo = Drawing(
        "flux", "a fisherman mending his net at dawn, harbour behind him", lora="flux-srpo.safetensors",
        word_strength=1.0,
    )  # fmt: skip
    graph = drawing.graph(photo, "flux_realistic_photo")
    graph.note(
        "The LoRA is one of `palate train flux-srpo`. FLUX.1 [dev] runs at CFG 1, where a negative prompt has no "
        "effect; `way: direction` works there, since it puts both words on the positive side."
    )
    return graph


def sdxl_style_words() -> Graph:
    """SDXL with Style Words, which put the negative word on the negative side."""
    drawn = Drawing("sdxl", "a lighthouse above a stormy sea", "blurry, lettering")
    graph = Graph("sdxl_style_words")
    loaded = drawing.load(graph, drawn)
    worded = graph.add(
        "PalateStyleWords", clip=loaded.clip, prompt=drawn.prompt, negative_prompt=drawn.negative_prompt,
        source="typed", positive_word="Oil painting", negative_word="CG Render",
        library_pair="3d render / line art", way="prefix",
    )  # fmt: skip
    graph.add("PreviewAny", source=worded["negative text"], title="Negative side")
    drawing.sample(graph, drawn, loaded, worded["positive"], worded["negative"])
    graph.note(
        "The negative word goes before the negative prompt, and CFG above 1 turns away from it. No LoRA is needed.\n\n"
        + drawing.needed(drawn)
    )
    return graph


def wan_video() -> Graph:
    """Wan 2.1 with a LoRA aligned by preferences over clips."""
    clip = Drawing(
        "wan", "a red kite rises over a beach, the camera follows", "static, blurry",
        lora="wan-dpo_comfyui.safetensors",
    )  # fmt: skip
    graph = drawing.graph(clip, "wan_video")
    graph.note("The LoRA is one of `palate train wan-dpo`; of a run's two files it is the one for ComfyUI.")
    return graph


EXAMPLES: dict[str, Callable[[], Graph]] = {
    function.__name__: function
    for function in (
        aligned_prompt,
        chain_aligned_lora,
        clip_preference_model,
        compare_grid,
        demo_world,
        demo_world_latent,
        flux_realistic_photo,
        load_aligned_lora,
        load_preference_model,
        pick_best,
        preference_score,
        save_for_arena,
        sdxl_style_words,
        strength_sweep,
        style_words,
        wan_video,
    )
}


def _draw(graph: Graph, loaded: Loaded, positive: Socket, negative: Socket, batch: int = 1) -> None:
    drawing.sample(graph, DEMO, loaded, positive, negative, batch)
