"""Train the reward: an open_clip CLIP with a convolutional tower, contrastive plus control-word losses."""

import random
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from demo_world.build import common
from demo_world.build.contrastive import Lesson, Source, Towers, softmax_loss
from demo_world.build.data import SEED, load_world
from demo_world.build.decoded import decoded_pictures
from demo_world.build.text_encoder import END, POSITIONS, VOCABULARY, WIDTH, load_tokenizer, tokenize

CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
    "text_cfg": {
        "context_length": POSITIONS,
        "vocab_size": VOCABULARY,
        "hf_tokenizer_name": "local-dir",
        "width": WIDTH,
        "heads": 4,
        "layers": 3,
        "pool_type": "eos",
        "eos_id": END,
        "pad_id": END,
    },
}
PREPROCESSING = {"size": 64, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic"}
STYLE_WEIGHT, QUALITY_WEIGHT = 1.0, 1.0
SIZES = (96, 32, 20)


def new_model() -> CLIP:
    """2.24M weights."""
    shapes = CLIPVisionCfg(**CONFIG["vision_cfg"]), CLIPTextCfg(**CONFIG["text_cfg"])
    return CLIP(CONFIG["embed_dim"], *shapes)


def towers_of(model: CLIP) -> Towers:
    """Both towers as functions to unit vectors."""
    tokenizer = load_tokenizer()

    def encode_images(images: Tensor) -> Tensor:
        return functional.normalize(model.encode_image((images * 2 - 1).contiguous()), dim=-1)

    def encode_texts(texts: list[str]) -> Tensor:
        return functional.normalize(model.encode_text(tokenize(tokenizer, texts)), dim=-1)

    return Towers(encode_images, encode_texts, lambda: model.logit_scale.clamp(max=4.6).exp())


def export(model: nn.Module) -> None:
    """Write weights/reward in open_clip's local-dir layout, fp16."""

    def write(folder: Path) -> None:
        weights = {name: value.contiguous() for name, value in common.as_half(model).state_dict().items()}
        save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
        common.write_json(folder / "open_clip_config.json", {"model_cfg": CONFIG, "preprocess_cfg": PREPROCESSING})
        load_tokenizer().save_pretrained(folder)

    common.publish_folder(common.WEIGHTS / "reward", write)


def load_model() -> Any:
    """The shipped weights in fp32."""
    return open_clip.create_model(f"local-dir:{common.WEIGHTS / 'reward'}")


def load() -> Towers:
    """The shipped reward, ready to score."""
    return towers_of(load_model().eval().requires_grad_(False))


def train(minutes: float = 24, resume: bool = False) -> None:
    """Train on the world and on 708 subjects of other groups; export the averaged weights."""
    torch.manual_seed(SEED + 7 + 100 * resume)
    world = load_world("objects")
    source = Source(world, random.Random(SEED + 7 + 100 * resume), 0.4, decoded_pictures(world))
    model = load_model() if resume else new_model()
    average, towers = common.Average(model, 0.995), towers_of(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.5e-3, weight_decay=0.05)
    clock, step = common.Clock(minutes), 0
    if not resume:
        export(average.module)
    while clock.progress < 1:
        model.train()
        contrastive, style, quality = Lesson.draw(source, SIZES).losses(towers, softmax_loss)
        loss = contrastive + STYLE_WEIGHT * style + QUALITY_WEIGHT * quality
        common.descend(loss, optimizer, clock.cosine(step), model)
        average.update(model)
        if step % 100 == 0:
            parts = " ".join(f"{float(part.detach()):.3f}" for part in (contrastive, style, quality))
            common.log("reward", f"step {step} contrastive, style, quality {parts}")
        step += 1
    export(average.module)
    common.log("reward", f"done at step {step}")
