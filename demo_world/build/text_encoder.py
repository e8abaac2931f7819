"""Train the tokenizer, and the generator's text encoder as the text tower of a contrastive pre-training."""

import json
import random
from collections.abc import Callable
from itertools import pairwise

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from demo_world.build import captions, common
from demo_world.build.contrastive import Source, Towers, softmax_loss
from demo_world.build.data import SEED, load_world

VOCABULARY, POSITIONS, WIDTH = 2048, 20, 128
START, END = VOCABULARY - 2, VOCABULARY - 1


def train_tokenizer() -> CLIPTokenizer:
    """Byte-level BPE in CLIP's layout. The end token is the last entry, as CLIP's own pooling expects."""
    blank = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = blank.normalizer, blank.pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=4000, end_of_word_suffix="</w>", show_progress=False)
    names = [subject["name"] for subject in load_world().subjects]
    learner.train_from_iterator(captions.all_texts(names), trainer)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = alphabet + [letter + "</w>" for letter in alphabet]
    merges = []
    for left, right in json.loads(learner.to_str())["model"]["merges"]:
        if left + right not in entries and len(entries) < START:
            entries.append(left + right)
            merges.append((left, right))
    entries += [f"<unused{number}>" for number in range(START - len(entries))] + ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=POSITIONS)
    common.publish_folder(common.WEIGHTS / "tokenizer", tokenizer.save_pretrained)
    return tokenizer


def load_tokenizer() -> CLIPTokenizer:
    """The world's one tokenizer."""
    return CLIPTokenizer.from_pretrained(common.WEIGHTS / "tokenizer")


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids [B,20], padded with the end token."""
    options = {"padding": "max_length", "max_length": POSITIONS, "truncation": True, "return_tensors": "pt"}
    return tokenizer(texts, **options).input_ids


def text_config() -> CLIPTextConfig:
    """3 layers of width 128."""
    return CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=POSITIONS,
        hidden_act="gelu",
        bos_token_id=START,
        eos_token_id=END,
        pad_token_id=END,
    )


class PictureTower(nn.Sequential):
    """The throw-away image tower of the pre-training: five strided convolutions. Pictures [B,3,64,64] in [0,1]."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        widths = (3, 32, 64, 96, 128)
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.GELU()]
        super().__init__(*layers, nn.Flatten(), nn.Linear(128 * 16, WIDTH))


class Trainee(nn.Module):
    """Text tower, projection and image tower under one optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.text = CLIPTextModel(text_config())
        self.projection = nn.Linear(WIDTH, WIDTH, bias=False)
        self.picture = PictureTower()
        self.log_scale = nn.Parameter(torch.tensor(2.6))

    def towers(self, tokens: Callable[[list[str]], Tensor]) -> Towers:
        """Both towers as functions."""

        def encode_texts(texts: list[str]) -> Tensor:
            return functional.normalize(self.projection(self.text(tokens(texts)).pooler_output), dim=-1)

        def encode_images(images: Tensor) -> Tensor:
            return functional.normalize(self.picture((images * 2 - 1).contiguous()), dim=-1)

        return Towers(encode_images, encode_texts, lambda: self.log_scale.clamp(max=4.6).exp())


def export(text: CLIPTextModel) -> None:
    """Write weights/text_encoder in fp16."""
    common.ship(text, "text_encoder")


def train(minutes: float = 10) -> None:
    """Train on the world's own subjects only; export the averaged text tower."""
    torch.manual_seed(SEED + 2)
    tokenizer = train_tokenizer()
    source = Source(load_world(), random.Random(SEED + 2), extra_share=0)
    trainee = Trainee()
    towers = trainee.towers(lambda texts: tokenize(tokenizer, texts))
    average = common.Average(trainee.text, 0.995)
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=1.5e-3, weight_decay=0.02)
    clock, step = common.Clock(minutes), 0
    export(average.module)
    while clock.progress < 1:
        images, texts = source.contrastive_batch(96)
        loss = softmax_loss(towers.scale() * towers.encode_images(images) @ towers.encode_texts(texts).T)
        common.descend(loss, optimizer, clock.cosine(step), trainee)
        average.update(trainee.text)
        if step % 100 == 0:
            common.log("text_encoder", f"step {step} loss {loss.item():.3f}")
        step += 1
    export(average.module)
    common.log("text_encoder", f"done at step {step}")
