"""Small parts that several families' pipelines share: real classes, random weights, real tokenizer formats."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
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


def bert_tokenizer(length: int = 77) -> BertTokenizer:
    """BERT's tokenizer with a few words and all letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: n for n, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocabulary, model_max_length=length)


def bert_text(width: int = 16) -> BertModel:
    """BERT's encoder."""
    return BertModel(
        BertConfig(
            hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=2,
            vocab_size=len(bert_tokenizer()), max_position_embeddings=77,
        )
    )  # fmt: skip


CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


def qwen_tokenizer(*texts: str) -> Qwen2Tokenizer:
    """Qwen's byte-level tokenizer and chat template, with one token for each word of WORDS and `texts`."""
    empty = Qwen2Tokenizer()
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer, trained.decoder = empty.backend_tokenizer.pre_tokenizer, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=["<|endoftext|>"],
    )  # fmt: skip
    trained.train_from_iterator([" ".join(WORDS), "system\nuser\nassistant\n", *texts], trainer)
    model = json.loads(trained.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]], chat_template=CHAT,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )  # fmt: skip


def qwen_text(tokenizer: Qwen2Tokenizer, layers: int = 2, width: int = 16) -> Qwen3ForCausalLM:
    """Qwen3."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8, vocab_size=len(tokenizer), max_position_embeddings=256,
            bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip


def autoencoder(channels: int = 4, levels: int = 2, **options: object) -> AutoencoderKL:
    """An image VAE: 2 pixels a side to one latent, twice as many for each further level."""
    return AutoencoderKL(**resolutions(levels), latent_channels=channels, sample_size=16, **options)


def resolutions(levels: int) -> dict[str, object]:
    """The widths and kinds of a VAE's blocks."""
    return {
        "block_out_channels": (*(8,) * (levels - 1), 16),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "norm_num_groups": 4,
    }


def lively(*modules: torch.nn.Module) -> None:
    """Random values where classes start at zero, so that a forgotten input or layer shows."""
    for module in modules:
        for parameter in module.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
