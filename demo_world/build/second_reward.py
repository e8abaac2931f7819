"""Train the second reward: a transformers CLIPModel (ViT, other seed, pairwise sigmoid loss) that shares no weights."""

import random
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from demo_world.build import common
from demo_world.build.contrastive import Lesson, Source, Towers
from demo_world.build.data import SEED, load_world
from demo_world.build.decoded import decoded_pictures
from demo_world.build.text_encoder import load_tokenizer, text_config, tokenize

STYLE_WEIGHT, QUALITY_WEIGHT = 1.0, 1.0
SIZES = (96, 32, 20)


def new_model() -> CLIPModel:
    """ViT with patch 8, width 128, 4 layers; text tower as the text encoder's, trained anew."""
    vision = {
        "image_size": 64,
        "patch_size": 8,
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
        "projection_dim": 128,
    }
    return CLIPModel(CLIPConfig(text_config=text_config().to_dict(), vision_config=vision, projection_dim=128))


def towers_of(model: Any) -> Towers:
    """Both towers as functions to unit vectors."""
    tokenizer = load_tokenizer()

    def encode_images(images: Tensor) -> Tensor:
        return functional.normalize(model.get_image_features(pixel_values=images * 2 - 1).pooler_output, dim=-1)

    def encode_texts(texts: list[str]) -> Tensor:
        return functional.normalize(model.get_text_features(tokenize(tokenizer, texts)).pooler_output, dim=-1)

    return Towers(encode_images, encode_texts, lambda: model.logit_scale.clamp(max=4.6).exp())


def sigmoid_loss(logits: Tensor, bias: Tensor) -> Tensor:
    """Each (picture, text) of the batch on its own: does it belong together? (arXiv:2303.15343)"""
    labels = 2 * torch.eye(len(logits)) - 1
    return -functional.logsigmoid(labels * (logits + bias)).sum() / len(logits)


def export(model: Any) -> None:
    """Write weights/second_reward in transformers' layout, fp16, with its processor and tokenizer."""
    processor = CLIPImageProcessor(
        size={"shortest_edge": 64},
        crop_size={"height": 64, "width": 64},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )

    def write(folder: Path) -> None:
        common.as_half(model).save_pretrained(folder)
        processor.save_pretrained(folder)
        load_tokenizer().save_pretrained(folder)

    common.publish_folder(common.WEIGHTS / "second_reward", write)


def load_model() -> CLIPModel:
    """The shipped weights in fp32."""
    return CLIPModel.from_pretrained(common.WEIGHTS / "second_reward", dtype=torch.float32)


def load() -> Towers:
    """The shipped second reward, ready to score."""
    return towers_of(load_model().eval().requires_grad_(False))


def train(minutes: float = 16, resume: bool = False) -> None:
    """Train on the same pictures as the reward, drawn with another seed; export the averaged weights."""
    torch.manual_seed(SEED + 8 + 100 * resume)
    world = load_world("objects")
    source = Source(world, random.Random(SEED + 8 + 100 * resume), 0.3, decoded_pictures(world))
    model = load_model().train() if resume else new_model()
    bias = torch.nn.Parameter(torch.tensor(-6.0))
    contrast = partial(sigmoid_loss, bias=bias)
    average, towers = common.Average(model, 0.995), towers_of(model)
    optimizer = torch.optim.AdamW([*model.parameters(), bias], lr=1.5e-3, weight_decay=0.05)
    clock, step = common.Clock(minutes), 0
    if not resume:
        export(average.module)
    while clock.progress < 1:
        contrastive, style, quality = Lesson.draw(source, SIZES).losses(towers, contrast)
        loss = contrastive + STYLE_WEIGHT * style + QUALITY_WEIGHT * quality
        common.descend(loss, optimizer, clock.cosine(step, warmup=200), model)
        average.update(model)
        if step % 100 == 0:
            parts = " ".join(f"{float(part.detach()):.3f}" for part in (contrastive, style, quality))
            common.log("second_reward", f"step {step} contrastive, style, quality {parts}")
        step += 1
    export(average.module)
    common.log("second_reward", f"done at step {step}")
