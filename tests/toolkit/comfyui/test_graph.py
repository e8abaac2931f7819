"""Graphs as code: refused where ComfyUI would refuse them, the same in both forms, laid out from left to right."""

from __future__ import annotations

import pytest

from toolkit.comfyui import drawing, families
from toolkit.comfyui.drawing import Drawing
from toolkit.comfyui.graph import Graph
from toolkit.errors import UsageError


def test_an_unknown_input_a_missing_one_and_a_wrong_type_are_refused() -> None:
    graph = Graph("any")
    loaded = graph.add("CheckpointLoaderSimple", ckpt_name="a.safetensors")
    with pytest.raises(ValueError, match="no input txt"):
        graph.add("CLIPTextEncode", txt="a", clip=loaded["CLIP"])
    with pytest.raises(ValueError, match="needs `clip`"):
        graph.add("CLIPTextEncode", text="a")
    with pytest.raises(ValueError, match="takes CLIP, not VAE"):
        graph.add("CLIPTextEncode", text="a", clip=loaded["VAE"])
    with pytest.raises(KeyError, match="no output `AUDIO`"):
        loaded["AUDIO"]
    assert [node.name for node in graph.nodes] == ["CheckpointLoaderSimple"]


def test_the_api_form_is_that_of_comfyui() -> None:
    graph = Graph("any")
    loaded = graph.add("CheckpointLoaderSimple", ckpt_name="a.safetensors")
    graph.add("CLIPTextEncode", title="Prompt", text="a cat", clip=loaded["CLIP"])
    assert graph.api() == {
        "1": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "a.safetensors"},
            "_meta": {"title": "CheckpointLoaderSimple"},
        },
        "2": {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": "a cat", "clip": ["1", 1]},
            "_meta": {"title": "Prompt"},
        },
    }


def test_the_workflow_form_numbers_links_and_keeps_widgets_in_their_order() -> None:
    graph = Graph("any")
    loaded = graph.add("CheckpointLoaderSimple", ckpt_name="a.safetensors")
    words = graph.add("StringConcatenate", string_a="a", string_b="b", delimiter=", ")
    encoded = graph.add("CLIPTextEncode", text=words["STRING"], clip=loaded["CLIP"])["CONDITIONING"]
    latent = graph.add("EmptyLatentImage", width=64)["LATENT"]
    graph.add(
        "KSampler", model=loaded["MODEL"], positive=encoded, negative=encoded, latent_image=latent, seed=5, cfg=4.0
    )
    shown = graph.workflow()
    nodes = {node["type"]: node for node in shown["nodes"]}
    assert nodes["KSampler"]["widgets_values"] == [5, "fixed", 20, 4.0, "euler", "simple", 1.0]
    assert nodes["EmptyLatentImage"]["widgets_values"] == [64, 512, 1]
    assert nodes["CLIPTextEncode"]["widgets_values"] == [""]  # the text comes in by a link
    assert nodes["CLIPTextEncode"]["inputs"][0] == {
        "name": "text", "type": "STRING", "link": 1, "widget": {"name": "text"},
    }  # fmt: skip
    assert shown["links"][0] == [1, 2, 0, 3, 0, "STRING"]
    assert nodes["CLIPTextEncode"]["outputs"][0]["links"] == [4, 5]
    assert nodes["CheckpointLoaderSimple"]["outputs"][2]["links"] == []


def test_every_link_leads_to_the_right_and_the_order_is_one_in_which_it_can_run() -> None:
    for family in families.FAMILIES:
        shown = drawing.graph(Drawing(family, "a cat"), "any").workflow()
        nodes = {node["id"]: node for node in shown["nodes"]}
        for _, source, _, target, _, _ in shown["links"]:
            assert nodes[source]["pos"][0] + nodes[source]["size"][0] < nodes[target]["pos"][0]
            assert nodes[source]["order"] < nodes[target]["order"]


def test_the_same_graph_is_the_same_file() -> None:
    first, second = (drawing.graph(Drawing("flux", "a cat"), "any").workflow() for _ in range(2))
    assert first == second


def test_guidance_is_the_networks_or_the_samplers() -> None:
    flux = drawing.graph(Drawing("flux", "a cat", guidance_scale=3.0), "any")
    assert flux.find("FluxGuidance").values["guidance"] == 3.0
    assert flux.find("KSampler").values["cfg"] == 1.0
    wan = drawing.graph(Drawing("wan", "a cat", guidance_scale=3.0), "any")
    assert wan.find("KSampler").values["cfg"] == 3.0
    assert wan.find("CreateVideo").values["fps"] == 16


@pytest.mark.parametrize(("side", "shift"), [(256, 1.65), (1024, 2.0), (1328, 2.3)])
def test_qwen_images_shift_rises_with_the_picture(side: int, shift: float) -> None:
    """e^0.5 at 256 tokens; at 1328 x 1328 exp(0.5 + 0.4 · (6889 - 256) / 7936)."""
    made = drawing.graph(Drawing("qwen_image", "a cat", size=(side, side, 1)), "any")
    assert made.find("ModelSamplingAuraFlow").values["shift"] == shift


def test_a_family_that_core_does_not_draw_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="no ComfyUI workflow for `cogvideox`"):
        drawing.graph(Drawing("cogvideox", "a cat"), "any")
