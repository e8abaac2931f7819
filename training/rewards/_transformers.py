"""A CLIP or SigLIP in transformers' layout: both towers, and how its description and its tokenizer are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig

from toolkit.errors import UsageError
from training import blueprint, sources
from training.rewards._scorer import report_cut

LAYOUTS = Path(__file__).parent / "layouts"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json")
# Buffers that older versions saved, and that are computed today.
COMPUTED = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")


class TransformersTowers(nn.Module):
    """Normalised pixels and texts to features, not yet of unit length."""

    def __init__(self, name: str, cls: Any, source: str, tokenizer: Any, dtype: torch.dtype) -> None:
        """name: of the scorer; cls: CLIPModel or SiglipModel; source: Hub id or folder.

        Raises UsageError when it is not there or not a `cls`.
        """
        super().__init__()
        self.name, self.dtype, self.tokenizer = name, dtype, tokenizer
        config = load_config(source, cls)
        check_vocabulary(tokenizer, config.text_config.vocab_size)
        model = sources.load(lambda: cls(config), source, WEIGHTS, unused=COMPUTED)
        self.scale = blueprint.number(model.logit_scale.float().exp())  # before rounding: in bfloat16 it is 1% off
        self.bias = blueprint.number(model.logit_bias) if hasattr(model, "logit_bias") else 0.0
        self.model: Any = model.to(dtype)
        self.size: int = config.vision_config.image_size
        self.length: int = config.text_config.max_position_embeddings

    def encode_images(self, pixels: Tensor) -> Tensor:
        """[B, 3, size, size] → [B, D]."""
        return self.model.get_image_features(pixel_values=pixels.to(self.dtype)).pooler_output

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """[B, D]; a text that is too long is reported and cut."""
        for text in texts:
            report_cut(self.name, text, len(self.tokenizer(text, verbose=False).input_ids), self.length)
        tokens = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.length, return_tensors="pt"
        ).input_ids
        return self.model.get_text_features(input_ids=tokens.to(self.model.device)).pooler_output


def load_config(source: str, cls: Any) -> Any:
    """The model's config.json. Raises UsageError unless it describes a `cls`."""
    published = blueprint.shipped(LAYOUTS, CONFIG) if blueprint.is_weightless() else {}
    path = published[source] / CONFIG if source in published else sources.locate(source, CONFIG)
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"`{path.name}` does not describe a model.", action="Give a Hub id, or a folder with its config.json."
        ) from error
    if not isinstance(config, cls.config_class):
        raise UsageError(
            f"`{source}` is a `{config.model_type}` model, `{cls.config_class.model_type}` is needed.",
            action="Choose another one.",
        )
    return config


def load_tokenizer(source: str, cls: Any) -> Any:
    """The tokenizer of a Hub id or folder, read by `cls`; lengths alone inside `blueprint.weightless`.

    Raises UsageError when there is none.
    """
    if blueprint.is_weightless():
        return blueprint.LengthTokenizer()
    folder = sources.locate_folder(source, TOKENIZER_FILES)
    sources.locate(str(folder), "tokenizer.json", "vocab.json", "vocab.txt")  # without, `cls` would invent an empty one
    try:
        return cls.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"`{source}` has no tokenizer that can be read.", action="Give a Hub id or folder with tokenizer.json."
        ) from error


def check_vocabulary(tokenizer: Any, words: int) -> None:
    """Raise UsageError when the tokenizer has tokens that a model of `words` does not know."""
    if len(tokenizer) > words:
        raise UsageError(
            f"The tokenizer has {len(tokenizer)} tokens, the model knows {words}.",
            action="Choose the tokenizer that belongs to the model.",
        )
