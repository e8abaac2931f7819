"""ImageReward's port: the same numbers as an independent BERT with cross-attention, and its own reading of prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.testing import assert_close
from transformers import BertConfig, BertModel

from training.rewards.image_reward import MEAN, STD


def bert_like(text_part: Any) -> BertModel:
    """transformers' BERT with cross-attention, holding the port's own text weights."""
    config = BertConfig(
        vocab_size=96, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=40, type_vocab_size=1, is_decoder=True, add_cross_attention=True,
        attn_implementation="eager",
    )  # fmt: skip
    bert = BertModel(config, add_pooling_layer=False).eval()
    # BERT layers read keys and values of their own width: the picture's 64 are padded with zeros to 128.
    weights = dict(text_part.state_dict())
    for name, tensor in weights.items():
        if "crossattention.self" in name and name.endswith(("key.weight", "value.weight")):
            weights[name] = torch.nn.functional.pad(tensor, (0, 64))
    weights["embeddings.token_type_embeddings.weight"] = torch.zeros(1, 128)
    bert.load_state_dict(weights, strict=True)
    return bert


def test_the_score_is_that_of_an_independent_bert(tiny: Callable[..., Any]) -> None:
    """Source: transformers' BertModel, told by a 4-D mask that every real token sees every other."""
    reward = tiny("image_reward")
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(8))
    target = reward.target([["a red car"], ["the cat"]])
    tokens, mask = target[:, 0].unbind(1)
    network = reward.network
    seen = network.blip["visual_encoder"].forward_features(reward.prepare(pictures))
    hidden = torch.zeros(2, 1, 1, 35).masked_fill(mask[:, None, None] == 0, torch.finfo(torch.float32).min)
    read = bert_like(network.blip["text_encoder"])(
        tokens, attention_mask=hidden.expand(2, 1, 35, 35), encoder_hidden_states=torch.nn.functional.pad(seen, (0, 64))
    )
    raw = read.last_hidden_state[:, 0]
    for layer in network.mlp["layers"].values():
        raw = raw @ layer.weight.T + layer.bias
    assert_close(reward.score(pictures, target), (raw - MEAN) / STD, rtol=1e-4, atol=1e-4)


def test_padding_is_not_read_and_35_tokens_are(tiny: Callable[..., Any]) -> None:
    reward = tiny("image_reward")
    tokens, mask = reward.target([["a cat"]])[0, 0]
    assert tokens.shape == (35,)
    assert int(mask.sum()) == len(reward.tokenizer("a cat").input_ids) == 6  # [CLS] a c ##a ##t [SEP]
    pictures = torch.rand(1, 3, 32, 32)
    target = reward.target([["a cat"]])
    other = target.clone()
    other[0, 0, 0, 20:] = 7
    assert_close(reward.score(pictures, target), reward.score(pictures, other))


def test_the_picture_is_seen_once_for_all_texts(tiny: Callable[..., Any]) -> None:
    reward = tiny("image_reward")
    calls = []
    hook = reward.network.blip["visual_encoder"].patch_embed.register_forward_hook(lambda *_: calls.append(1))
    scores = reward.score(torch.rand(2, 3, 32, 32), reward.target([["a cat", "a dog", "a car"]] * 2))
    hook.remove()
    assert (scores.shape, len(calls)) == ((2, 3), 1)


def test_decoder_and_encoder_marks_are_tokens_of_their_own(tiny: Callable[..., Any]) -> None:
    tokenizer = tiny("image_reward").tokenizer
    assert tokenizer.convert_tokens_to_ids(["[DEC]", "[ENC]"]) == [len(tokenizer) - 2, len(tokenizer) - 1]
