"""Preference Score, Pick Best and Save for Arena in a real ComfyUI server, beside Palate's own rewards.

pytest -m slow tests/e2e/test_comfyui_scores.py   (after `make comfyui`, or with COMFYUI_PATH: see real_comfyui.py)
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from real_comfyui import needed
from safetensors.torch import save_file
from tiny import rewards as tiny_rewards
from transformers import CLIPConfig, CLIPModel

from toolkit import pairs
from toolkit.recipe import Section
from toolkit.words import WordPair, positive_and_negative
from training import reward_export, tables
from training.rewards._pictures import CLIP_MEAN, CLIP_STD, Preprocessing

pytestmark = [
    pytest.mark.slow,
    needed,
]
SIZES = ((64, 64), (224, 224), (320, 240), (181, 300), (97, 64))  # width, height
WORDS = WordPair(positive="3d render (soft)", negative="line art")
PROMPT = "A fox, sitting on grass; it's late"
TYPED = {"prompt": PROMPT, "positive_word": r"3d render \(soft\)", "negative_word": WORDS.negative}
LAYERS = {"num_hidden_layers": 3, "num_attention_heads": 4, "hidden_act": "quick_gelu"}
TEXT = {**LAYERS, "hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 77}
VISION = {**LAYERS, "hidden_size": 96, "intermediate_size": 192, "image_size": 224, "patch_size": 14}
ENDS = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blurred noise of several sizes, so that resizing matters and the scores differ."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, (width, height) in enumerate(SIZES):
        noise = np.random.default_rng(number).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def tensors(folder: Path) -> list[torch.Tensor]:
    files = sorted(folder.glob("*.png"))
    return [torch.from_numpy(np.array(Image.open(file)) / np.float32(255)).movedim(-1, 0)[None] for file in files]


@pytest.fixture(scope="module")
def clip_folder(server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random CLIP with ComfyUI's tokenizer; every weight a float16, since ComfyUI keeps them so."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(3)
    config = {"model_type": "clip", "projection_dim": 64, "text_config": {**TEXT, **ENDS}, "vision_config": VISION}
    model = CLIPModel(CLIPConfig(**{key: value for key, value in config.items() if key != "model_type"}))
    weights = {name: (4 * weight if weight.ndim > 1 else weight).half().contiguous()
               for name, weight in model.state_dict().items() if weight.is_floating_point()}  # fmt: skip
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    seen = {**VISION, "model_type": "clip_vision_model", "num_channels": 3, "projection_dim": 64}
    (folder / "vision.json").write_text(json.dumps(seen))
    (folder / "text.json").write_text(json.dumps({**TEXT, "eos_token_id": 49407}))
    for file in (Path(server.checkout) / "comfy" / "sd1_tokenizer").iterdir():
        shutil.copy(file, folder)
    return folder


def score_graph(scorer: str, pictures: Path, **inputs: Any) -> dict[str, Any]:
    return {
        "pictures": node("TestPictures", folder=str(pictures)),
        "score": node("PalatePreferenceScore", scorer=[scorer, 0], images=["pictures", 0], **{**TYPED, **inputs}),
        **{name: node("TestShow", value=["score", place]) for place, name in enumerate(("scores", "absolute", "best"))},
    }


def pair_graph(folder: Path, **inputs: Any) -> dict[str, Any]:
    return {
        "pair": node("TestPair", folder=str(folder), **{"without_projection": False, **inputs}),
        "scorer": node("PalateClipPreferenceModel", clip_vision=["pair", 0], clip=["pair", 1]),
    }


def palate_scores(reward: Any, images: list[torch.Tensor]) -> tuple[list[float], list[float]]:
    """(relative, absolute) of Palate's own reward."""
    both, alone = reward.target(positive_and_negative([PROMPT], [WORDS])), reward.target([[PROMPT]])
    with torch.no_grad():
        relative = [float(reward.score(image, both) @ torch.tensor([1.0, -1.0])) for image in images]
        return relative, [float(reward.score(image, alone)) for image in images]


def as_comfyui_sees(images: list[torch.Tensor], prepare: Preprocessing) -> list[torch.Tensor]:
    """Palate's squares in 8 bits: the one thing that ComfyUI does otherwise."""
    mean, std = (torch.tensor(each)[:, None, None] for each in (CLIP_MEAN, CLIP_STD))
    return [((prepare(image) * std + mean).clamp(0, 1) * 255).round() / 255 for image in images]


def largest(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def test_a_pairs_scores_are_palates_own(server, clip_folder: Path, pictures: Path) -> None:
    reward: Any = tables.reward(Section(name="clip", settings={"weights": str(clip_folder)}))
    shown = server.outputs({**pair_graph(clip_folder), **score_graph("scorer", pictures)})
    images = tensors(pictures)
    relative, absolute = palate_scores(reward, images)
    rounded = palate_scores(reward, as_comfyui_sees(images, reward.prepare))
    found = shown["scores"]["found"], shown["absolute"]["found"]
    exact, rounding = largest(found[0] + found[1], rounded[0] + rounded[1]), largest(relative, rounded[0])
    spread = max(relative) - min(relative)
    print(f"\n{exact:.1e} from the same pixels, {rounding:.1e} by rounding them, scores spread over {spread:.1e}")
    assert exact < 1e-5
    assert largest(found[0], relative) < 1e-3
    assert largest(found[1], absolute) < 1e-3
    assert spread > 30 * largest(found[0], relative)
    assert shown["best"]["found"] == [max(found[0])]
    best = relative.index(max(relative))
    (text,) = shown["score"]["text"]
    assert text.splitlines()[1].split() == [str(best), f"{found[0][best]:+.4f}", f"{found[1][best]:.4f}",
                                            "x".join(map(str, SIZES[best]))]  # fmt: skip


def test_without_words_the_prompt_counts_and_weights_are_no_text(server, clip_folder: Path, pictures: Path) -> None:
    weighted = PROMPT.replace("fox", "(fox:1.3)")
    graph = {**pair_graph(clip_folder), **score_graph("scorer", pictures, positive_word="", negative_word="")}
    plain = server.outputs(graph)
    graph["score"]["inputs"]["prompt"] = weighted
    assert server.outputs(graph)["scores"]["found"] == plain["scores"]["found"] == plain["absolute"]["found"]


def test_what_cannot_score_says_so(server, clip_folder: Path, pictures: Path) -> None:
    graph = {**pair_graph(clip_folder, without_projection=True), **score_graph("scorer", pictures)}
    assert "its text projection is missing, as in every SD 1.5 checkpoint" in server.refused(graph)
    graph = {**pair_graph(clip_folder), "other": node("TestClip"), **score_graph("scorer", pictures)}
    graph["scorer"]["inputs"]["clip"] = ["other", 0]
    assert "gives 64 numbers, the text part 768: they are of two models" in server.refused(graph)


def test_pick_best_keeps_pictures_and_their_latents(server, clip_folder: Path, pictures: Path) -> None:
    same = clip_folder / "same size"
    same.mkdir(exist_ok=True)
    for number in range(4):
        noise = np.random.default_rng(50 + number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((64, 64)).save(same / f"{number}.png")
    graph = {
        **pair_graph(clip_folder), **score_graph("scorer", same),
        "latents": node("EmptyLatentImage", width=64, height=64, batch_size=4),
        "pick": node("PalatePickBest", scorer=["scorer", 0], images=["pictures", 0], keep=3, latents=["latents", 0],
                     **TYPED),
        **{name: node("TestShow", value=["pick", place])
           for place, name in enumerate(("images", "kept latents", "indices", "kept scores"))},
    }  # fmt: skip
    shown = server.outputs(graph)
    scores, places = shown["scores"]["found"], shown["indices"]["found"]
    assert places == sorted(range(4), key=lambda place: -scores[place])[:3]
    assert shown["kept scores"]["found"] == [scores[place] for place in places]
    (batch,), (latent,) = shown["images"]["found"], shown["kept latents"]["found"]
    assert (batch["shape"], latent["shape"]) == ([3, 64, 64, 3], [3, 4, 8, 8])
    wanted = torch.cat([tensors(same)[place] for place in places])
    assert batch["mean"] == pytest.approx(float(wanted.mean()), abs=1e-5)
    del graph["pick"]["inputs"]["latents"]
    without = server.outputs(graph)  # whoever wants the latents is told and left out; the rest runs
    assert "kept latents" not in without
    assert without["indices"]["found"] == places


def arena(images: str, **inputs: Any) -> dict[str, Any]:
    given = {
        "images": [images, 0], "folder": "arena/foxes", "prompt": "a fox — “sly”", "seed": 2**64 - 1,
        "model_name": "sdxl", "lora_name": "mine.safetensors", "positive_word": "calm", "negative_word": "loud",
        "as_clip": False, "fps": 8.0, **inputs,
    }  # fmt: skip
    return node("PalateSaveForArena", **given)


def test_palate_reads_what_was_saved_for_the_arena(server) -> None:
    batch = {"batch": node("EmptyImage", width=64, height=48, batch_size=2, color=0x336699)}
    red = {"red": node("EmptyImage", width=64, height=48, batch_size=1, color=0xCC1100)}
    frames = {"frames": node("ImageBatch", image1=["batch", 0], image2=["red", 0])}
    graph = {**batch, "save": arena("batch"), **red, **frames, "clip": arena("frames", as_clip=True, lora_name="")}
    shown = server.outputs(graph)
    assert [image["subfolder"] for image in shown["save"]["images"]] == ["arena/foxes"] * 2
    folder = server.folder / "output" / "arena" / "foxes"
    found = pairs.read("candidates", folder)
    assert {reason: len(places) for reason, places in found.dropped.items()} == {pairs.TWICE: 1}
    by_frames = {item.picture.frames: item for item in found.kept if isinstance(item, pairs.Candidate)}
    assert sorted(by_frames) == [1, 2]  # three frames, two of which are alike
    picture = by_frames[1]
    assert (picture.prompt, picture.seed, picture.index) == ("a fox — “sly”", 2**64 - 1, 0)
    assert (picture.model, picture.lora, picture.words) == ("sdxl", "mine.safetensors", ("calm", "loud"))
    pixels = np.array(pairs.frames(picture.picture)[0])
    assert (pixels == [0x33, 0x66, 0x99]).all()
    with Image.open(picture.picture.path) as image:
        assert json.loads(image.info["prompt"])["save"]["class_type"] == "PalateSaveForArena"
    files = {path.name: path.read_bytes() for path in folder.glob("0*")}
    graph["save"]["inputs"]["seed"] = 8
    server.outputs(graph)
    assert files.items() <= {path.name: path.read_bytes() for path in folder.glob("0*")}.items()
    assert len((folder / "candidates.jsonl").read_text(encoding="utf-8").splitlines()) == 5


@pytest.mark.parametrize("name", ["..", "../outside", "/tmp/outside", "a/../../b", "C:\\x", "nul", "a\0b", "", "a//b"])
def test_nothing_is_written_outside_the_output_folder(server, name: str) -> None:
    graph = {"batch": node("EmptyImage", width=8, height=8, batch_size=1, color=0), "save": arena("batch", folder=name)}
    before = sorted(server.folder.rglob("*.png"))
    assert "is not taken" in server.refused(graph)
    assert sorted(server.folder.rglob("*.png")) == before


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_hpsv21_at_its_real_size_scores_as_palate_does(server, pictures: Path, tmp_path: Path) -> None:
    """Written by Palate's own export out of the published layout, which is a pickle, and read by core's classes."""
    for name in ("2.png", "3.png"):  # a wide and a tall one, for each takes its time
        shutil.copy(pictures / name, tmp_path)
    torch.save({"state_dict": tiny_rewards.full_size("hpsv21")}, tmp_path / "HPS_v2.1_compressed.pt")
    section = Section(name="hpsv21", settings={"weights": str(tmp_path / "HPS_v2.1_compressed.pt")})
    place = server.folder / "models" / "palate" / "hps.safetensors"
    place.parent.mkdir(exist_ok=True)
    assert reward_export.export(section, place) == {"reward": "hpsv21", "geometry": "pad", "scale": 1.0}
    reward: Any = tables.reward(section)
    loader = node("PalateLoadPreferenceModel", model_name="hps.safetensors", geometry="as the file says")
    shown = server.outputs({"scorer": loader, **score_graph("scorer", tmp_path)})
    images = tensors(tmp_path)
    relative, absolute = palate_scores(reward, images)
    rounded, _ = palate_scores(reward, as_comfyui_sees(images, reward.prepare))
    place.unlink()
    exact, whole = largest(shown["scores"]["found"], rounded), largest(shown["scores"]["found"], relative)
    print(f"\n{exact:.1e} from the same pixels, {whole:.1e} in all, spread {max(relative) - min(relative):.1e}")
    assert exact < 1e-4
    assert whole < 1e-3
    assert largest(shown["absolute"]["found"], absolute) < 1e-3
