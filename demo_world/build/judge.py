"""Train the judge, a small ResNet that names the style. It is for reports only and never a training reward."""

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification

from demo_world.build import common, pictures
from demo_world.build.contrastive import Source
from demo_world.build.data import SEED, STYLES, load_world
from demo_world.build.decoded import decoded_pictures

BATCH = 96


SHAPE: dict[str, Any] = {
    "embedding_size": 48,
    "hidden_sizes": [48, 72, 96, 128],
    "depths": [2, 2, 1, 1],
    "layer_type": "basic",
    "num_labels": len(STYLES),
    "id2label": dict(enumerate(STYLES)),
    "label2id": {style: number for number, style in enumerate(STYLES)},
}


def new_model() -> ResNetForImageClassification:
    """0.7M weights: four basic stages of one or two blocks."""
    return ResNetForImageClassification(ResNetConfig(**SHAPE))


def judge(model: ResNetForImageClassification, images: Tensor) -> Tensor:
    """Style probabilities [B,4] of pictures in [0,1]."""
    return model(images * 2 - 1).logits.softmax(-1)


def export(model: Any) -> None:
    """Write weights/judge in transformers' layout, fp16."""
    processor = ConvNextImageProcessor(
        size={"shortest_edge": 64}, crop_pct=1.0, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
    )

    def write(folder: Path) -> None:
        common.as_half(model).save_pretrained(folder)
        processor.save_pretrained(folder)

    common.publish_folder(common.WEIGHTS / "judge", write)


def load() -> ResNetForImageClassification:
    """The shipped judge."""
    model = ResNetForImageClassification.from_pretrained(common.WEIGHTS / "judge", dtype=torch.float32)
    return model.eval().requires_grad_(False)


def train(minutes: float = 9, resume: bool = False) -> None:
    """Train on every training pair, the extra groups included; export the averaged weights."""
    torch.manual_seed(SEED + 9 + 100 * resume)
    world = load_world(with_extra=True)
    source = Source(world, random.Random(SEED + 9 + 100 * resume), 0.6, decoded_pictures(world))
    model: Any = load().requires_grad_(True) if resume else new_model()
    model = model.to(memory_format=torch.channels_last)
    average = common.Average(model, 0.99)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    clock, step = common.Clock(minutes), 0
    while clock.progress < 1:
        model.train()
        pairs = [(subject, source.rng.choice(source.styles[subject])) for subject in source.subjects(BATCH)]
        images = pictures.roughen(source.draw(pairs)[0], source.rng, source.generator)
        target = torch.tensor([style for _, style in pairs])
        with torch.autocast("cpu", torch.bfloat16):
            logits = model((images * 2 - 1).to(memory_format=torch.channels_last)).logits
        loss = functional.cross_entropy(logits.float(), target, label_smoothing=0.02)
        common.set_learning_rate(optimizer, clock.cosine(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(model)
        if step % 100 == 0:
            common.log("judge", f"step {step} loss {loss.item():.3f}")
        step += 1
    export(average.module)
    common.log("judge", f"done at step {step}")
