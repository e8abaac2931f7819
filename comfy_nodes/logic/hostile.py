"""Text out of a downloaded file: whoever wrote it is unknown, and it goes into a prompt and onto the screen."""

from __future__ import annotations

import unicodedata

LONGEST = 200  # characters; training takes no longer word
EMBEDDING = "embedding:"  # makes ComfyUI open a file
# Cc control, Cf invisible and direction-changing, Cs/Co/Cn no characters at all, Zl/Zp line and paragraph separators.
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# <|im_end|> and </s> end the text for a tokenizer, <lora:x> loads a file elsewhere; and ComfyUI has no escape for its
# escape character.
REMOVED = str.maketrans("", "", "<>\\")
ESCAPED = str.maketrans({"(": r"\(", ")": r"\)"})


def line(text: object, longest: int = LONGEST) -> str:
    """One short line without anything invisible, to be shown; "" for what is no text."""
    if not isinstance(text, str):
        return ""
    start = text[: 10 * longest]  # a hundred megabytes need not be looked through
    seen = "".join(" " if unicodedata.category(letter) in UNSEEN else letter for letter in start)
    return " ".join(seen.split())[:longest].rstrip()


def word(text: object) -> str:
    """A control word, ready for a prompt: one short line whose parentheses are no weights.

    Raises ValueError for what is no word: nothing in it, or a request to open an embedding file.
    """
    plain = line(line(text).translate(REMOVED))
    if not plain:
        raise ValueError("a word in this file is empty")
    if EMBEDDING in plain.casefold():
        raise ValueError(f"a word in this file asks for an embedding and is left out: {plain}")
    return plain.translate(ESCAPED)


def unescape(text: str) -> str:
    """The word as training read it, for text encoders that know no weights and no escapes."""
    return text.replace(r"\(", "(").replace(r"\)", ")")
