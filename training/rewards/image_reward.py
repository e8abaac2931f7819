"""ImageReward v1.0 (arXiv:2304.05977): BLIP-L whose text part looks at the picture, and a linear head.

The towers are timm's ViT and transformers' BLIP text model: their names and shapes are those of the published file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from transformers import BertTokenizer, BlipTextConfig
from transformers.models.blip.modeling_blip_text import BlipTextModel

from toolkit.errors import UsageError
from training import blueprint, sources
from training.rewards._head import LinearHead
from training.rewards._pictures import Preprocessing
from training.rewards._scorer import Scorer, ScorerSettings, report_cut
from training.rewards._transformers import check_vocabulary, load_tokenizer

FILES = ("ImageReward.safetensors", "ImageReward.pt")
TOKENS = 35
MEAN, STD = 0.16717362830052426, 1.0333394966054072  # of the published model's raw scores
HEAD_WIDTH = 64  # of one attention head, in both towers
# Leftovers of BLIP's pre-training that no score needs, and a buffer that is computed today.
UNUSED = ("blip.vision_proj.", "blip.text_proj.", "blip.text_encoder.embeddings.position_ids")


class ImageReward(Scorer):
    """ImageReward v1.0 (own port on timm and transformers): about -2.3 to 2, near 0 on average; one pass per text."""

    gives: ClassVar[frozenset[str]] = frozenset({"differentiable", "text_conditioned"})

    class Settings(ScorerSettings):
        """Settings of `image_reward`."""

        weights: str = Field(default="THUDM/ImageReward", description="Hub id, folder or file with ImageReward.pt.")
        tokenizer: str = Field(
            default="google-bert/bert-base-uncased", description="Hub id or folder of BERT's uncased tokenizer."
        )

    def __init__(self, settings: Settings | None = None) -> None:
        """Load on the CPU, frozen; sizes are the file's own. Raises UsageError when the weights are not these."""
        chosen = settings or self.Settings()
        super().__init__(chosen.frames)
        self.tokenizer = load_tokenizer(chosen.tokenizer, BertTokenizer)
        self.tokenizer.add_special_tokens({"bos_token": "[DEC]"})
        self.tokenizer.add_tokens(["[ENC]"], special_tokens=True)
        self.network: Any = _load(chosen.weights)
        check_vocabulary(self.tokenizer, self.network.blip["text_encoder"].config.vocab_size)
        self.network.blip.to(chosen.torch_dtype)
        self.network.mlp.float()
        self.dtype = chosen.torch_dtype
        self.prepare = Preprocessing(self.network.blip["visual_encoder"].patch_embed.img_size[0])
        self._tokens: dict[str, Tensor] = {}

    def target(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Token numbers and their mask, [B, T, 2, 35]."""
        return torch.stack([torch.stack([self._read(text) for text in row]) for row in texts])

    def score_pictures(self, images: Tensor, target: Tensor) -> Tensor:
        """[B, T]: the picture tower once, the text part once per text."""
        seen = self.network.blip["visual_encoder"].forward_features(self.prepare(images).to(self.dtype))
        tokens, mask = target.to(seen.device).flatten(0, 1).unbind(1)
        read = self.network.blip["text_encoder"](
            tokens, attention_mask=mask, encoder_hidden_states=seen.repeat_interleave(target.shape[1], dim=0)
        )
        raw = self.network.mlp["layers"](read.last_hidden_state[:, 0].float())
        return ((raw - MEAN) / STD).unflatten(0, target.shape[:2])

    def _read(self, text: str) -> Tensor:
        if text not in self._tokens:
            report_cut("image_reward", text, len(self.tokenizer(text, verbose=False).input_ids), TOKENS)
            read = self.tokenizer(
                text, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
            )  # fmt: skip
            self._tokens[text] = torch.cat([read.input_ids, read.attention_mask])
        return self._tokens[text]


class _Network(nn.Module):
    """The published file's own nesting of names."""

    def __init__(self, vision: nn.Module, text: nn.Module, head: LinearHead) -> None:
        super().__init__()
        self.blip = nn.ModuleDict({"visual_encoder": vision, "text_encoder": text})
        self.mlp = nn.ModuleDict({"layers": head})


@dataclass(frozen=True)
class Sizes:
    """As published: ViT-L/16 at 224 and BERT-base."""

    side: int = 224
    patch: int = 16
    width: int = 1024
    depth: int = 24
    mlp_ratio: float = 4.0
    words: int = 30524
    positions: int = 512
    hidden: int = 768
    inner: int = 3072
    layers: int = 12

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> Sizes:
        """A file's own. Raises KeyError for a file of another model."""
        seen, read = "blip.visual_encoder.", "blip.text_encoder."
        width, _, patch, _ = weights[f"{seen}patch_embed.proj.weight"].shape
        words, hidden = weights[f"{read}embeddings.word_embeddings.weight"].shape
        return cls(
            side=round((weights[f"{seen}pos_embed"].shape[1] - 1) ** 0.5) * patch,
            patch=patch,
            width=width,
            depth=_blocks(weights, f"{seen}blocks."),
            mlp_ratio=weights[f"{seen}blocks.0.mlp.fc1.weight"].shape[0] / width,
            words=words,
            positions=weights[f"{read}embeddings.position_embeddings.weight"].shape[0],
            hidden=hidden,
            inner=weights[f"{read}encoder.layer.0.intermediate.dense.weight"].shape[0],
            layers=_blocks(weights, f"{read}encoder.layer."),
        )


def build(sizes: Sizes) -> _Network:
    """The network under the published file's names, not yet with its weights."""
    config = BlipTextConfig(
        vocab_size=sizes.words,
        hidden_size=sizes.hidden,
        encoder_hidden_size=sizes.width,
        intermediate_size=sizes.inner,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.hidden // HEAD_WIDTH,
        max_position_embeddings=sizes.positions,
        is_decoder=True,  # only so that the layers get their cross-attention; every token sees every other
    )
    vision = {"depth": sizes.depth, "num_heads": sizes.width // HEAD_WIDTH, "mlp_ratio": sizes.mlp_ratio}
    return _Network(
        VisionTransformer(sizes.side, sizes.patch, embed_dim=sizes.width, num_classes=0, **vision),
        BlipTextModel(config, add_pooling_layer=False),
        LinearHead(sizes.hidden, (0, 2, 4, 6, 7)),
    )


def _load(source: str) -> _Network:
    if blueprint.is_weightless():
        return blueprint.build(lambda: build(Sizes()))
    file = sources.locate(source, *FILES)
    weights = sources.read_weights(file)
    try:
        sizes = Sizes.of(weights)
    except KeyError as missing:
        raise UsageError(f"`{file.name}` holds another model: it has no {missing}.") from None
    return sources.fill(lambda: build(sizes), weights, file, unused=UNUSED)


def _blocks(weights: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in weights if name.startswith(prefix))
