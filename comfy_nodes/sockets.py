"""Inputs that several nodes have in common."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import lora_files
from .compat import build
from .logic.ways import WAYS
from .logic.words import CHOICES

CATEGORY = "preference/lora"
Loras = io.Custom("PALATE_LORAS")  # a tuple of `chain.Link`


def lora(*, optional: bool = False) -> Any:
    """The dropdown of LoRA files; an optional one begins with "none"."""
    return build(
        io.Combo.Input,
        "lora_name",
        options=[*([lora_files.NONE] if optional else []), *lora_files.names()],
        tooltip="A .safetensors file in models/loras or a folder in it. It is read again when it changes on disk.",
    )


def strength(name: str, tooltip: str) -> Any:
    """How strongly a LoRA works, with core's limits."""
    return build(io.Float.Input, name, default=1.0, min=-100.0, max=100.0, step=0.01, tooltip=tooltip)


def word_strength() -> Any:
    """How strongly words work."""
    return build(
        io.Float.Input, "word_strength", default=1.0, min=0.0, max=2.0, step=0.05,
        tooltip="How strongly the words work: 0 not at all, 1 as in training, 2 twice that.",
    )  # fmt: skip


def words() -> Any:
    """Which of the two words are used. Optional and last, so that workflows made before it keep their values."""
    return build(
        io.Combo.Input, "words", options=list(CHOICES), default=CHOICES[0], optional=True,
        tooltip="Which of the two words are used. The chips on the node switch it, too.",
    )  # fmt: skip


def prompts() -> list[Any]:
    """What to draw, and what not."""
    return [
        build(io.String.Input, "prompt", default="", multiline=True, dynamic_prompts=True, tooltip="What to draw."),
        build(
            io.String.Input, "negative_prompt", default="", multiline=True, dynamic_prompts=True,
            tooltip="What not to draw. It has no effect where CFG is 1.",
        ),
    ]  # fmt: skip


def way() -> list[Any]:
    """How words are applied, and when, for the way that asks."""
    return [
        build(
            io.Combo.Input, "way", options=list(WAYS), default="prefix",
            tooltip="prefix: “word. prompt”, as in training. average: between the prompt without and with the word. "
            "direction: adds what parts the two words, works at CFG 1, too. concat: the word's tokens after the "
            "prompt's. timestep range: the prefix during a part of sampling.",
        ),
        *(
            build(
                io.Float.Input, name, default=default, min=0.0, max=1.0, step=0.01, advanced=True,
                tooltip=f"For timestep range: the fraction of sampling at which the words {what}.",
            )
            for name, default, what in (("start", 0.0, "begin"), ("end", 0.5, "end"))
        ),
    ]  # fmt: skip


def conditionings() -> list[Any]:
    """Both conditionings, both texts and the account, as outputs. Older pages name a socket without it by its type."""
    return [
        build(io.Conditioning.Output, "positive", display_name="positive", tooltip="For a sampler's positive input."),
        build(io.Conditioning.Output, "negative", display_name="negative", tooltip="For a sampler's negative input."),
        build(io.String.Output, "positive_text", display_name="positive text", tooltip="What was encoded for it."),
        build(io.String.Output, "negative_text", display_name="negative text", tooltip="What was encoded for it."),
        build(
            io.String.Output, "info", display_name="info",
            tooltip="What was done, and what was done otherwise than asked.",
        ),
    ]  # fmt: skip
