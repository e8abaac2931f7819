"""How a word meets a prompt, in text: as in training, or weighted in ComfyUI's own writing."""

from __future__ import annotations

from collections.abc import Iterable

from ..header import caption
from .hostile import unescape


def weighted(word: str, strength: float, *, weights: bool = True) -> str:
    """The word itself at strength 1, `(word:1.3)` otherwise, nothing at 0.

    weights: whether the text encoder reads them (Qwen-Image's does not); without, the plain word is all there is.
    """
    if not word or strength == 0:
        return ""
    if not weights:
        return unescape(word)
    return word if strength == 1 else f"({word}:{strength:g})"


def prefixed(words: Iterable[tuple[str, float]], prompt: str, *, weights: bool = True) -> str:
    """Every word before the prompt, as training writes one, the first one first; alone where there is no prompt."""
    text = prompt
    for word, strength in reversed(list(words)):
        shown = weighted(word, strength, weights=weights)
        if shown:
            text = caption(shown, text) if text else shown
    return text
