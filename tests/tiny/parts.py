"""Small parts that several families' pipelines share: real classes, random weights, real tokenizer formats."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

WORDS = ("a", "an", "the", "cat", "dog", "red", "blue", "car", "house", "photo", "of", "in", "on", "realistic", "and")


def clip_tokenizer(length: int = 77) -> CLIPTokenizer:
    """CLIP's tokenizer with the demo world's vocabulary."""
    folder = Path(str(files("demo_world") / "weights" / "tokenizer"))
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True, model_max_length=length)


def clip_text(width: int = 16, *, projected: bool = False, act: str = "quick_gelu") -> CLIPTextModel:
    """CLIP's text tower, with the projection that SDXL and SD3 read."""
    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=2,
        projection_dim=width, vocab_size=len(tokenizer), max_position_embeddings=77, hidden_act=act,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def t5_tokenizer(length: int = 64) -> T5TokenizerFast:
    """A T5 tokenizer that knows a few words and all letters."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in WORDS), *"abcdefghijklmnopqrstuvwxyz.,"]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(n)) for n, piece in enumerate(pieces)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(
        tokenizer_object=tokenizer, extra_ids=0, eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        model_max_length=length,
    )  # fmt: skip


def t5_text(width: int = 16) -> T5EncoderModel:
    """T5's encoder."""
    vocabulary = len(t5_tokenizer())
    return T5EncoderModel(
        T5Config(d_model=width, d_ff=2 * width, d_kv=8, num_layers=2, num_heads=2, vocab_size=vocabulary)
    )


def autoencoder(channels: int = 4, **options: object) -> AutoencoderKL:
    """An image VAE with two resolutions: 2 pixels to one latent."""
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=16,
        **options,
    )


def lively(*modules: torch.nn.Module) -> None:
    """Random values where classes start at zero, so that a forgotten input or layer shows."""
    for module in modules:
        for parameter in module.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
