"""The kinds of taste and the methods that learn from each, by what the catalogue says a method needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolkit import catalogue, pairs
from toolkit.studio.speech import phrase

LONGEST_PLACE = 4096  # characters of a folder's path
WORDS = "words"


@dataclass(frozen=True)
class Taste:
    """What a creator brings, in English. `methods`: the few shown first, the recommended one at their head."""

    label: str
    methods: tuple[str, ...]
    about: str
    folder: str = ""  # what the folder holds


TASTES: Mapping[str, Taste] = {
    WORDS: Taste(
        phrase("Two words"), ("srpo", "refl", "flow_grpo", "nft"),
        phrase("Two words tell the model which way to go. No pictures of yours are needed."),
    ),
    "likes": Taste(
        phrase("Liked and disliked pictures"), ("kto",),
        phrase("Pictures that you like or dislike, each by itself, with captions."),
        phrase("Folder of liked and disliked pictures"),
    ),
    "pairs": Taste(
        phrase("Better and worse pairs"), ("dpo", "sdpo", "ipo", "mapo"),
        phrase("Two pictures of the same prompt, one better than the other."),
        phrase("Folder of pairs"),
    ),
    "photos": Taste(
        phrase("Photos"), ("sft", "srpo"),
        phrase("Pictures with captions that the model should learn from."),
        phrase("Folder of photos"),
    ),
}  # fmt: skip


def methods(taste: str, *, everything: bool = False, chosen: str = "") -> list[str]:
    """The methods that learn from that taste: the short list with the chosen one, or all of them."""
    short = list(TASTES[taste].methods)
    learning = all_methods(taste)
    if everything:
        return short + [name for name in learning if name not in short]
    return short + [chosen] * (chosen in learning and chosen not in short)


def all_methods(taste: str) -> list[str]:
    """Every method that learns from that taste."""
    if taste in pairs.KINDS:
        return catalogue.learning_from(taste)
    return [name for name, entry in catalogue.load()["methods"].items() if not set(entry.needs) & set(pairs.KINDS)]


def recommended(taste: str) -> str:
    """What to begin with."""
    return TASTES[taste].methods[0]


def of(method: str, settings: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The taste that a recipe with this method, its settings and this `data` teaches."""
    if given := [kind for kind in pairs.KINDS if data.get(kind)]:
        return given[0]
    if settings.get("source", "rollout") != "rollout":
        return "photos"
    entry = catalogue.load()["methods"].get(method)
    return next((kind for kind in pairs.KINDS if entry and kind in entry.needs), WORDS)


def source(taste: str, method: str) -> dict[str, str]:
    """Settings that make a method learn from that taste where it could do without."""
    entry = catalogue.load()["methods"].get(method)
    is_choice = entry is not None and "source" in entry.defaults() and "photos" not in entry.needs
    return {"source": "photos"} if taste == "photos" and is_choice else {}
