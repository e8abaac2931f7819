"""Every downloaded scorer at toy size: the published names from tests/golden/rewards, small shapes, random numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from toolkit.recipe import Section

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "rewards"
CLIP_TOKENIZER = ROOT / "demo_world" / "weights" / "second_reward"
RANGE = re.compile(r"\{0\.\.(\d+)\}")
DEPTH = 2  # blocks per tower
TINY_VIT_H = "palate-tiny-ViT-H"
DOWNLOADED = ("aesthetic_v25", "clip", "hpsv21", "image_reward", "laion_aesthetic", "pickscore", "siglip")

Shapes = dict[str, tuple[int, ...]]


def golden(name: str, *, optional: bool = False, depth: int | None = None) -> Shapes:
    """Published name → shape. depth: only that many blocks of each range; optional: with the lines marked `?`."""
    shapes: Shapes = {}
    for line in (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or (line.startswith("?") and not optional):
            continue
        pattern, *sizes = line.removeprefix("? ").split()
        found = RANGE.search(pattern)
        count = min(int(found[1]) + 1, depth or 1000) if found else 1
        for i in range(count):
            shapes[RANGE.sub(str(i), pattern)] = tuple(map(int, sizes))
    return shapes


def synthetic(shapes: Shapes, sizes: Mapping[int, int], *, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors under these names, each size replaced by its small one."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        small = tuple(sizes.get(size, size) for size in shape)
        noise = torch.randn(small, generator=generator)
        if name.endswith("position_ids"):
            weights[name] = torch.arange(small[1])[None]
        elif name in ("logit_scale", "logit_bias"):
            weights[name] = torch.full(small, 4.6052 if name == "logit_scale" else -10.0)
        elif len(small) > 1:
            fan_in = torch.Size(small[1:]).numel() if len(small) > 2 else small[1]
            weights[name] = noise * (0.5 if "embed" in name else fan_in**-0.5)
        else:
            weights[name] = (1.0 if name.endswith("weight") and "embedding" not in name else 0.0) + 0.1 * noise
    return weights


def full_size(name: str) -> dict[str, Tensor]:
    """float16, from one small pool of random numbers: drawing a thousand million of them would take minutes."""
    pool = torch.randn(1 << 20, generator=torch.Generator().manual_seed(1)).mul_(0.02).half()
    weights = {}
    for key, shape in golden(name).items():
        count = torch.Size(shape).numel()
        weights[key] = pool.repeat(count // len(pool) + 1)[:count].reshape(shape).clone()
        if len(shape) == 1 and key.endswith("weight"):
            weights[key] += 1
    weights["logit_scale"].fill_(4.6052)
    return weights


def section(name: str, folder: Path, **settings: Any) -> Section:
    """A section of the recipe whose weights are tiny and lie in `folder`; the demo's scorers need none."""
    if name not in BUILDERS:
        return Section(name=name, settings=settings)
    built = folder / name
    made = json.loads((built / "settings.json").read_text()) if built.is_dir() else _make(name, built)
    return Section(name=name, settings={**made, **settings})


def _make(name: str, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True)
    settings = BUILDERS[name](folder)
    (folder / "settings.json").write_text(json.dumps(settings))
    return settings


def register_tiny_vit_h(folder: Path) -> None:
    """open_clip's ViT-H-14 with two narrow blocks per tower and pictures of 28 x 28."""
    vision = {"image_size": 28, "layers": DEPTH, "width": 32, "head_width": 16, "patch_size": 14}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": DEPTH}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    (folder / f"{TINY_VIT_H}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{TINY_VIT_H}.json")


VIT_H = {1280: 32, 3840: 96, 5120: 128, 1024: 16, 3072: 48, 4096: 64, 257: 5}


def _hpsv21(folder: Path) -> dict[str, Any]:
    register_tiny_vit_h(folder)
    weights = {name: t.half() for name, t in synthetic(golden("hpsv21", depth=DEPTH), VIT_H).items()}
    torch.save({"state_dict": weights, "epoch": 1}, folder / "HPS_v2.1_compressed.pt")
    return {"weights": str(folder), "model": TINY_VIT_H}


def _clip_config(folder: Path, text: int, vision: int) -> None:
    shared = {"num_hidden_layers": DEPTH, "num_attention_heads": 2, "hidden_act": "gelu"}
    numbers = {"vocab_size": 2048, "bos_token_id": 2046, "eos_token_id": 2047, "pad_token_id": 2047}
    config = {
        "model_type": "clip", "projection_dim": 16,
        "text_config": {**shared, **numbers, "hidden_size": 16, "intermediate_size": text},
        "vision_config": {
            **shared, "hidden_size": 32, "intermediate_size": vision, "image_size": 28, "patch_size": 14
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def _copy_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((CLIP_TOKENIZER / name).read_bytes())


def _pickscore(folder: Path) -> dict[str, Any]:
    _clip_config(folder, 64, 128)
    shapes = golden("pickscore", depth=DEPTH, optional=True)
    save_file(synthetic(shapes, {**VIT_H, 49408: 2048}), folder / "model.safetensors")
    return {"weights": str(folder), "tokenizer": str(CLIP_TOKENIZER)}


def _clip(folder: Path) -> dict[str, Any]:
    _clip_config(folder, 32, 64)
    _copy_tokenizer(folder)
    sizes = {1024: 32, 4096: 64, 768: 16, 3072: 32, 49408: 2048, 257: 5}
    save_file(synthetic(golden("clip", depth=DEPTH), sizes), folder / "model.safetensors")
    return {"weights": str(folder)}


def _siglip(folder: Path) -> dict[str, Any]:
    shared = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": DEPTH, "num_attention_heads": 2}
    text = {**shared, "vocab_size": 64, "max_position_embeddings": 64}
    config = {
        "model_type": "siglip", "text_config": {**text, "bos_token_id": 2, "eos_token_id": 1},
        "vision_config": {**shared, "image_size": 28, "patch_size": 14},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    sizes = {1152: 32, 3456: 96, 4304: 48, 32000: 64, 729: 4}
    save_file(synthetic(golden("siglip", depth=DEPTH), sizes), folder / "model.safetensors")
    letters = ["<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz0123456789 .,"]
    tokenizer = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)  # fmt: skip
    return {"weights": str(folder)}


def _image_reward(folder: Path) -> dict[str, Any]:
    vision = {1024: 64, 3072: 192, 4096: 128, 197: 5}
    text = {768: 128, 1024: 64, 3072: 256, 30524: 96, 512: 40}
    weights = {}
    for name, shape in golden("image_reward", depth=DEPTH, optional=True).items():
        sizes = vision if "visual" in name or "vision" in name else {768: 128} if name.startswith("mlp") else text
        weights |= synthetic({name: shape}, sizes, seed=len(weights))
    torch.save(weights, folder / "ImageReward.pt")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words))
    return {"weights": str(folder), "tokenizer": str(folder)}


def _aesthetic_v25(folder: Path) -> dict[str, Any]:
    _siglip(folder)
    head = synthetic(golden("aesthetic_v25"), {1152: 32})
    torch.save({name: t.bfloat16() for name, t in head.items()}, folder / "aesthetic_predictor_v2_5.pth")
    return {"weights": str(folder), "head": str(folder / "aesthetic_predictor_v2_5.pth")}


def _laion_aesthetic(folder: Path) -> dict[str, Any]:
    _clip(folder)
    torch.save(synthetic(golden("laion_aesthetic"), {768: 16}), folder / "sac+logos+ava1-l14-linearMSE.pth")
    return {"weights": str(folder), "head": str(folder / "sac+logos+ava1-l14-linearMSE.pth")}


def _mixture(folder: Path) -> dict[str, Any]:
    parts = [section(name, folder.parent).model_dump() for name in ("hpsv21", "image_reward", "laion_aesthetic")]
    return {
        "parts": [
            {"reward": reward, "weight": weight, "mean": 0.1, "std": 0.5}
            for reward, weight in zip(parts, (1.0, 0.5, -0.25), strict=True)
        ]
    }


BUILDERS = {
    "aesthetic_v25": _aesthetic_v25,
    "clip": _clip,
    "hpsv21": _hpsv21,
    "image_reward": _image_reward,
    "laion_aesthetic": _laion_aesthetic,
    "mixture": _mixture,
    "pickscore": _pickscore,
    "siglip": _siglip,
}
