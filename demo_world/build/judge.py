"""Train the judge, a small RegNet that names the style. It is for reports only and never a training reward."""

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import ConvNextImageProcessor, RegNetConfig, RegNetForImageClassification

from demo_world.build import common, pictures
from demo_world.build.contrastive import Source
from demo_world.build.data import EXTRA_GROUPS, SEED, STYLES, load_world
from demo_world.build.decoded import decoded_pictures

BATCH = 96


SHAPE: dict[str, Any] = {
    "embedding_size": 32,
    "hidden_sizes": [32, 64, 128, 192],
    "depths": [1, 2, 2, 1],
    "groups_width": 16,
    "downsample_in_first_stage": False,  # shading against flat colour is a matter of single pixels
    "num_labels": len(STYLES),
    "id2label": dict(enumerate(STYLES)),
    "label2id": {style: number for number, style in enumerate(STYLES)},
}


def new_model() -> RegNetForImageClassification:
    """0.29M weights: four stages, the first at half the picture's resolution."""
    return RegNetForImageClassification(RegNetConfig(**SHAPE))


def judge(model: RegNetForImageClassification, images: Tensor) -> Tensor:
    """Style probabilities [B,4] of pictures in [0,1]."""
    return model(images * 2 - 1).logits.softmax(-1)


def shuffle_colours(images: Tensor, rng: random.Random) -> Tensor:
    """Red, green and blue in another order in half of the pictures: style is not in the hue."""
    orders = [rng.sample(range(3), 3) if rng.random() < 0.5 else [0, 1, 2] for _ in images]
    return torch.stack([image[order] for image, order in zip(images, orders, strict=True)])


def export(model: Any) -> None:
    """Write weights/judge in transformers' layout, fp16."""
    processor = ConvNextImageProcessor(
        size={"shortest_edge": 64}, crop_pct=1.0, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
    )

    def write(folder: Path) -> None:
        common.as_half(model).save_pretrained(folder)
        processor.save_pretrained(folder)

    common.publish_folder(common.WEIGHTS / "judge", write)


def load() -> RegNetForImageClassification:
    """The shipped judge."""
    model = RegNetForImageClassification.from_pretrained(common.WEIGHTS / "judge", dtype=torch.float32)
    return model.eval().requires_grad_(False)


def train(minutes: float = 24, resume: bool = False) -> None:
    """Train on every training pair and all extra groups; export the averaged weights."""
    torch.manual_seed(SEED + 9 + 100 * resume)
    decoded = decoded_pictures(load_world("objects"))
    source = Source(load_world(*EXTRA_GROUPS), random.Random(SEED + 9 + 100 * resume), 0.8, decoded)
    model: Any = load().requires_grad_(True) if resume else new_model()
    model = model.to(memory_format=torch.channels_last)
    average = common.Average(model, 0.995)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1)
    clock, step = common.Clock(minutes), 0
    while clock.progress < 1:
        model.train()
        pairs = [(subject, source.rng.choice(source.styles[subject])) for subject in source.subjects(BATCH)]
        images = shuffle_colours(pictures.roughen(source.draw(pairs)[0], source.rng, source.generator), source.rng)
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
