"""Both towers of a model that open_clip knows, from weights that were found elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from toolkit.errors import UsageError, did_you_mean
from training import sources
from training.rewards._scorer import report_cut


class OpenClipTowers(nn.Module):
    """Normalised pixels and texts to features, not yet of unit length."""

    def __init__(
        self, name: str, config: Mapping[str, Any], source: str, files: Sequence[str], dtype: torch.dtype
    ) -> None:
        """name: of the scorer; config: open_clip's `model_cfg`; source: Hub id, folder or file; files: its names there.

        Raises UsageError when the weights are not there or do not fit.
        """
        super().__init__()
        self.name, self.dtype = name, dtype
        self.model: Any = sources.load(maker(config), source, *files).to(dtype)
        options = config["text_cfg"].get("tokenizer_kwargs", {})
        self.tokenizer: Any = open_clip.SimpleTokenizer(context_length=self.model.context_length, **options)
        self.size = int(config["vision_cfg"]["image_size"])

    def encode_images(self, pixels: Tensor) -> Tensor:
        """[B, 3, size, size] → [B, D]."""
        return self.model.encode_image(pixels.to(self.dtype))

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """[B, D]; a text that is too long is reported and cut."""
        for text in texts:
            report_cut(self.name, text, len(self.tokenizer.encode(text)) + 2, self.model.context_length)
        return self.model.encode_text(self.tokenizer(list(texts)).to(self.model.logit_scale.device))


def built_in(model: str) -> dict[str, Any]:
    """The `model_cfg` of a name that open_clip brings along. Raises UsageError with the nearest name."""
    config = open_clip.get_model_config(model)
    if config is None:
        raise UsageError(f"open_clip has no model `{model}`.", action=did_you_mean(model, open_clip.list_models()))
    return config


def maker(config: Mapping[str, Any]) -> Callable[[], nn.Module]:
    if "hf_tokenizer_name" in config["text_cfg"] or "hf_model_name" in config["text_cfg"]:
        raise UsageError(
            "This open_clip model borrows its text part from another library.",
            action="Choose one with open_clip's own tokenizer.",
        )
    options = dict(config)
    cls = open_clip.CustomTextCLIP if options.pop("custom_text", False) else open_clip.CLIP
    return lambda: cls(**options)
