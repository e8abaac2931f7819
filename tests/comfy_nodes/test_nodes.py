"""The nodes in a stand-in for ComfyUI, of an old and of a newer release."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import re
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import torch

COUNTED = {  # these have an input or output of whole numbers
    "PalateCompareGrid", "PalateDemoWorldLatent", "PalatePickBest", "PalateSaveForArena", "PalateStrengthSweep",
    "PalateStyleWords",
}  # fmt: skip
IDS = COUNTED | {
    "PalateAlignedPrompt", "PalateChainLora", "PalateClipPreferenceModel", "PalateDemoWorldLoader",
    "PalateLoadAlignedLora", "PalateLoadPreferenceModel", "PalatePreferenceScore",
}  # fmt: skip
LORA = {
    "PalateAlignedPrompt", "PalateChainLora", "PalateCompareGrid", "PalateLoadAlignedLora", "PalateStrengthSweep",
    "PalateStyleWords",
}  # fmt: skip
CATEGORIES = {f"preference/{room}" for room in ("arena", "demo", "lora", "score")}
WORDED = LORA - {"PalateCompareGrid", "PalateStrengthSweep"}  # with chips
WAY = {"start": 0.0, "end": 0.5}


def part(pack: ModuleType, name: str) -> ModuleType:
    return importlib.import_module(f"{pack.__name__}.{name}")


def test_ids_are_prefixed_and_those_of_the_table(pack, nodes, caplog) -> None:
    assert set(nodes) == IDS
    assert set(part(pack, "extension").NODES) == IDS
    assert not caplog.records


def test_everything_is_explained(nodes) -> None:
    for node in nodes.values():
        schema = node.define_schema()
        assert schema.display_name
        assert schema.description
        assert schema.category in CATEGORIES
        sockets = [*schema.inputs, *schema.outputs]
        assert [socket.id for socket in sockets if not socket.tooltip] == []
        assert [output.id for output in schema.outputs if not output.display_name] == []  # else its type is shown
        ids = [socket.id for socket in sockets]
        assert len(ids) == len(set(ids))


def test_new_fields_reach_a_new_release_only(nodes, release) -> None:
    schema = nodes["PalateStyleWords"].define_schema()
    advanced = [socket.id for socket in schema.inputs if getattr(socket, "advanced", False)]
    if release == "new":
        assert schema.search_aliases
        assert advanced == ["pair", "start", "end"]
    else:
        assert not hasattr(schema, "search_aliases")
        assert advanced == []


def test_a_node_that_a_release_cannot_have_takes_no_other_with_it(comfyui, caplog) -> None:
    del sys.modules["comfy_api.latest"].io.Int
    extension = asyncio.run(comfyui.load().comfy_entrypoint())
    with caplog.at_level(logging.WARNING):
        found = asyncio.run(extension.get_node_list())
    assert {node.define_schema().node_id for node in found} == IDS - COUNTED
    (record,) = caplog.records
    assert all(name in record.getMessage() for name in COUNTED)


def test_every_execute_takes_what_its_schema_offers(nodes) -> None:
    for node in nodes.values():
        code = node.execute.__func__.__code__
        assert set(code.co_varnames[1 : code.co_argcount]) == {each.id for each in node.define_schema().inputs}


def test_the_dropdown_has_sub_folders_and_only_safetensors(comfyui, nodes) -> None:
    for name in ("b.safetensors", "people/a.safetensors", "old.ckpt", "x.pt"):
        comfyui.lora(name)
    (dropdown,) = [each for each in nodes["PalateLoadAlignedLora"].define_schema().inputs if each.id == "lora_name"]
    assert dropdown.options == ["b.safetensors", "people/a.safetensors"]
    (dropdown,) = [each for each in nodes["PalateStyleWords"].define_schema().inputs if each.id == "lora_name"]
    assert dropdown.options == ["none", "b.safetensors", "people/a.safetensors"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("/etc/passwd", "paths are not taken"),
        ("../mine.safetensors", "paths are not taken"),
        ("people/../../mine.safetensors", "paths are not taken"),
        ("C:\\mine.safetensors", "paths are not taken"),
        ("\\\\host\\share\\mine.safetensors", "paths are not taken"),
        ("mine.safetensors\0.txt", "paths are not taken"),
        ("mine.ckpt", "never opened"),
        ("mine.pt", "never opened"),
        ("absent.safetensors", "There is no LoRA absent.safetensors"),
    ],
)
def test_only_names_of_safetensors_files_are_read(comfyui, nodes, name: str, sentence: str) -> None:
    comfyui.lora()
    for node in (nodes[node_id] for node_id in LORA):
        assert sentence in node.validate_inputs(lora_name=name)
        assert node.validate_inputs(lora_name="mine.safetensors") is True
    with pytest.raises(ValueError, match=sentence):
        load(nodes, comfyui, name)


def load(nodes, comfyui, name: str = "mine.safetensors", **inputs: Any) -> Any:
    given = {"model": comfyui.model(), "strength_model": 1.0, "strength_clip": 1.0, **inputs}
    return nodes["PalateLoadAlignedLora"].execute(lora_name=name, **given)


def test_a_lora_is_applied_by_core_and_accounted_for(comfyui, nodes) -> None:
    comfyui.lora()
    base, clip = comfyui.model(), comfyui.clip()
    model, patched_clip, positive, negative, info = load(nodes, comfyui, model=base, clip=clip, strength_model=0.5)
    assert comfyui.calls == [([f"lora_unet_{n}.lora_{d}.weight" for n in "ab" for d in ("down", "up")], 0.5, 1.0)]
    assert (len(model.patches), len(base.patches), len(patched_clip.patches), len(clip.patches)) == (1, 0, 1, 0)
    assert (positive, negative) == (r"3d render \(soft\)", "line art")
    assert "4 of 4 tensors used" in info
    assert "recommended strength 0.5 to 1" in info
    shown = load(nodes, comfyui)
    assert shown.ui == {"text": shown[4]}
    assert shown[1] is None


def test_at_strength_0_the_inputs_come_back_untouched(comfyui, nodes) -> None:
    comfyui.lora()
    base, clip = comfyui.model(), comfyui.clip()
    model, same, *_ = load(nodes, comfyui, model=base, clip=clip, strength_model=0, strength_clip=0)
    assert model is base
    assert same is clip
    assert comfyui.calls == []


def test_another_family_is_refused_in_a_sentence(comfyui, nodes) -> None:
    comfyui.lora(family="sdxl")
    with pytest.raises(ValueError, match=r"is a LoRA for Stable Diffusion XL, and the model is Stable Diffusion 1\.5"):
        load(nodes, comfyui)
    comfyui.lora("unknown.safetensors", family="", layers="xyz")
    with pytest.raises(ValueError, match=r"does not fit this model .*: 0 of 6 tensors used.*made for this model"):
        load(nodes, comfyui, "unknown.safetensors")
    comfyui.lora("layout.safetensors", layers="xyz")
    with pytest.raises(ValueError, match="palate convert"):
        load(nodes, comfyui, "layout.safetensors")
    comfyui.lora("large.safetensors", size=5)
    with pytest.raises(ValueError, match=r"another size: lora_unet_a is 5 × 3 in the file and 4 × 3 in the model"):
        load(nodes, comfyui, "large.safetensors")
    assert comfyui.calls == []


def test_what_does_not_fit_is_told_and_not_handed_on(comfyui, nodes, caplog) -> None:
    comfyui.lora(layers="abx")
    *_, info = load(nodes, comfyui)
    assert "4 of 6 tensors used; not known to this model: lora_unet_x.lora_down.weight" in info
    assert len(comfyui.calls[0][0]) == 4
    assert "4 of 6 tensors used" in caplog.text


def test_8_bit_weights_are_warned_about(comfyui, nodes) -> None:
    comfyui.lora()
    model = comfyui.model()
    eight = {
        name: (1000 * weight).clamp(max=448).to(torch.float8_e4m3fn) for name, weight in model.model.weights.items()
    }
    model.model.weights = eight
    assert "below half a rounding step" in load(nodes, comfyui, model=model)[4]


def test_a_file_without_header_is_used_without_words(comfyui, nodes) -> None:
    from safetensors.torch import load_file, save_file

    path = comfyui.lora()
    save_file(load_file(path), path)
    _, _, positive, negative, info = load(nodes, comfyui)
    assert (positive, negative) == ("", "")
    assert "no words in this file" in info


def test_a_broken_file_is_named(comfyui, nodes) -> None:
    comfyui.lora().write_bytes(b"not this")
    with pytest.raises(ValueError, match=r"mine\.safetensors is not a readable \.safetensors file"):
        load(nodes, comfyui)


def test_a_file_changed_on_disk_is_read_again(comfyui, nodes, pack) -> None:
    node = nodes["PalateLoadAlignedLora"]
    path = comfyui.lora()
    before = node.fingerprint_inputs(lora_name="mine.safetensors", strength_model=1.0)
    assert before == node.fingerprint_inputs(lora_name="mine.safetensors", strength_model=0.5)
    assert load(nodes, comfyui)[2] == r"3d render \(soft\)"
    comfyui.lora(words=[{"positive": "calm", "negative": "loud"}])
    os.utime(path, ns=(1, 1))
    assert node.fingerprint_inputs(lora_name="mine.safetensors") != before
    assert load(nodes, comfyui)[2] == "calm"
    assert node.fingerprint_inputs(lora_name="absent.safetensors") == "no file absent.safetensors"
    assert len(part(pack, "lora_files")._files) == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "`` is not in models/palate. `palate demo --export-comfyui`"),
        ("absent.safetensors", "`absent.safetensors` is not in models/palate"),
        ("../loras/mine.safetensors", "Choose a Demo World by its name in the list"),
        ("mine.ckpt", "mine.ckpt is not a .safetensors file"),
    ],
)
def test_demo_world_files_are_named_as_lora_files_are(comfyui, nodes, name: str, sentence: str) -> None:
    path, node = comfyui.lora(), nodes["PalateDemoWorldLoader"]
    assert node.validate_inputs("mine.safetensors") is True
    assert node.validate_inputs(name).startswith(sentence)
    before = node.fingerprint_inputs("mine.safetensors")
    os.utime(path, ns=(1, 1))
    assert node.fingerprint_inputs("mine.safetensors") != before
    assert node.fingerprint_inputs(name) == f"no file {name}"


def test_the_cache_is_small_and_nobody_can_change_it(comfyui, pack) -> None:
    files = part(pack, "lora_files")
    for number in range(5):
        comfyui.lora(f"{number}.safetensors")
        files.read(f"{number}.safetensors").tensors.clear()
    assert len(files._files) == files.KEPT
    again = files.read("4.safetensors")
    assert len(again.tensors) == 4
    first = next(iter(again.tensors))
    assert files.read("4.safetensors").tensors[first] is again.tensors[first]


def style(nodes, comfyui, **inputs: Any) -> Any:
    given = {
        "clip": comfyui.clip(), "prompt": "a cat", "negative_prompt": "bad", "source": "typed", "lora_name": "none",
        "pair": 1, "library_pair": "3d render / line art", "positive_word": "calm", "negative_word": "loud",
        "way": "prefix", "word_strength": 1.0, **WAY, **inputs,
    }  # fmt: skip
    return nodes["PalateStyleWords"].execute(**given)


@pytest.mark.parametrize(
    ("inputs", "texts"),
    [
        ({}, ("calm. a cat", "loud. bad")),
        ({"source": "library"}, ("3d render. a cat", "line art. bad")),
        ({"source": "LoRA", "lora_name": "mine.safetensors"}, (r"3d render \(soft\). a cat", "line art. bad")),
        ({"source": "LoRA", "lora_name": "mine.safetensors", "pair": 2}, ("sharp. a cat", "blurry. bad")),
        ({"source": "LoRA"}, ("a cat", "bad")),
        ({"word_strength": 0.0}, ("a cat", "bad")),
        ({"word_strength": 1.3}, ("(calm:1.3). a cat", "(loud:1.3). bad")),
    ],
)
def test_style_words_come_from_three_places(comfyui, nodes, inputs: dict[str, Any], texts: tuple[str, str]) -> None:
    comfyui.lora()
    result = style(nodes, comfyui, **inputs)
    assert result[2:4] == texts
    clip = comfyui.clip()
    for conditioning, text in zip(result[:2], texts, strict=True):
        wanted = clip.encode_from_tokens_scheduled(clip.tokenize(text))
        assert torch.equal(conditioning[0][0], wanted[0][0])
    assert texts[0] in result.ui["text"]


def test_a_pair_that_is_not_there_is_refused(comfyui, nodes) -> None:
    comfyui.lora()
    with pytest.raises(ValueError, match=r"no word pair number 3. Choose 1 to 2"):
        style(nodes, comfyui, source="LoRA", lora_name="mine.safetensors", pair=3)


def aligned(nodes, comfyui, **inputs: Any) -> Any:
    given = {
        "model": comfyui.model(), "clip": comfyui.clip(), "prompt": "a cat", "negative_prompt": "", "strength": 0.8,
        "lora_name": "mine.safetensors", "way": "prefix", "word_strength": 1.0, **WAY, **inputs,
    }  # fmt: skip
    return nodes["PalateAlignedPrompt"].execute(**given)


def test_aligned_prompt_is_loader_and_words_in_one(comfyui, nodes) -> None:
    comfyui.lora()
    model, positive, negative, *texts, info = aligned(nodes, comfyui)
    assert [strength for _, strength in model.patches] == [0.8]
    assert texts == [r"3d render \(soft\). a cat", "line art"]
    assert positive[0][0].shape == negative[0][0].shape == (1, 77, 4)
    assert "4 of 4 tensors used" in info
    assert r"prefix: 3d render \(soft\) / line art at 1" in info


def test_several_loras_each_with_strength_and_words(comfyui, nodes) -> None:
    comfyui.lora("first.safetensors", words=[{"positive": "red", "negative": "blue"}])
    comfyui.lora("second.safetensors")
    comfyui.lora()
    chain = nodes["PalateChainLora"].execute
    (one,) = chain(lora_name="first.safetensors", strength=0.3, word_strength=0.5)
    (two,) = chain("second.safetensors", 0.6, 1.0, positive_word=" calm ", loras=one)
    assert len(one) == 1
    model, _, _, positive, negative, info = aligned(nodes, comfyui, loras=two, word_strength=0.0)
    assert [strength for _, strength in model.patches] == [0.3, 0.6, 0.8]
    assert (positive, negative) == ("(red:0.5). calm. a cat", "(blue:0.5)")
    assert info.count("4 of 4 tensors used") == 3
    model, *_ = aligned(nodes, comfyui, loras=one, lora_name="none")
    assert len(model.patches) == 1


WORDS = [
    ("both", (r"3d render \(soft\)", "line art")),
    ("positive", (r"3d render \(soft\)", "")),
    ("negative", ("", "line art")),
    ("none", ("", "")),
]


@pytest.mark.parametrize(("words", "texts"), WORDS)
def test_a_word_that_is_switched_off_is_not_sent(comfyui, nodes, words: str, texts: tuple[str, str]) -> None:
    comfyui.lora()
    sent = tuple(f"{text}. {prompt}" if text else prompt for text, prompt in zip(texts, ("a cat", "bad"), strict=True))
    assert load(nodes, comfyui, words=words)[2:4] == texts
    assert aligned(nodes, comfyui, negative_prompt="bad", words=words)[3:5] == sent
    assert style(nodes, comfyui, source="LoRA", lora_name="mine.safetensors", words=words)[2:4] == sent
    (chain,) = nodes["PalateChainLora"].execute("mine.safetensors", 1.0, 1.0, words=words)
    assert aligned(nodes, comfyui, negative_prompt="bad", lora_name="none", loras=chain)[3:5] == sent


def test_a_typed_word_can_be_switched_off_too(comfyui, nodes) -> None:
    assert style(nodes, comfyui, words="negative")[2:4] == ("a cat", "loud. bad")
    (chain,) = nodes["PalateChainLora"].execute(
        "mine.safetensors", 1.0, 1.0, positive_word="calm", negative_word="loud", words="positive"
    )
    assert (chain[0].spoken().pair.positive, chain[0].spoken().pair.negative) == ("calm", "")


@pytest.mark.parametrize("words", ["all", "", "Both", 5, ["both"], "x\n" * 1000])
def test_another_choice_of_words_is_refused(comfyui, nodes, words: Any) -> None:
    comfyui.lora()
    sentence = "words cannot be .{,50}Choose both, positive, negative or none"
    for node_id in sorted(WORDED):
        node = nodes[node_id]
        assert re.match(sentence, node.validate_inputs(lora_name="mine.safetensors", words=words))
        assert node.validate_inputs(lora_name="mine.safetensors", words="none") is True
    for run in (load, aligned):
        with pytest.raises(ValueError, match=sentence):
            run(nodes, comfyui, words=words)


def test_the_choice_of_words_is_optional_and_last(nodes) -> None:
    """A workflow keeps its values by their places; one that was saved before this input has none for it."""
    for node_id in WORDED:
        last = nodes[node_id].define_schema().inputs[-1]
        assert (last.id, last.optional, last.default, last.options) == (
            "words", True, "both", ["both", "positive", "negative", "none"],
        )  # fmt: skip


def test_without_any_lora_model_and_prompt_pass_through(comfyui, nodes) -> None:
    base = comfyui.model()
    model, _, _, positive, negative, info = aligned(nodes, comfyui, model=base, lora_name="none", word_strength=2.0)
    assert model is base
    assert (positive, negative, info) == ("a cat", "", "no words")


def test_a_process_without_comfyui_can_import_the_pack_in_an_instant() -> None:
    code = (
        "import sys, time; start = time.process_time(); import comfy_nodes; spent = time.process_time() - start; "
        "print(spent, *[name for name in sys.modules if name.split('.')[0] in ('torch', 'comfy', 'safetensors')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    spent, *heavy = done.stdout.split()
    assert float(spent) < 0.05
    assert heavy == []
