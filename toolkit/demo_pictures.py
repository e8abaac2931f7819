"""The pictures that the embedded model learned from: subjects in four styles, cut from one atlas."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from PIL import Image

SIDE, ATLAS_COLUMNS = 64, 16
STYLES = ("3d render", "flat icon", "line art", "cartoon")  # the atlas holds four sprites a subject, in this order


@dataclass(frozen=True)
class Subject:
    """A thing of the world: its place in the atlas, and the styles of it that models were trained on."""

    id: str
    name: str
    place: int
    styles: tuple[str, ...]
    prompts: str


@cache
def subjects() -> dict[str, Subject]:
    """All of them by id."""
    listed = json.loads((files("demo_world") / "subjects.json").read_text(encoding="utf-8"))
    return {
        entry["id"]: Subject(entry["id"], entry["name"], place, tuple(entry["styles"]), entry["prompts"])
        for place, entry in enumerate(listed)
    }


def trained_on(style: str) -> list[str]:
    """Ids of the training prompts' subjects whose picture in that style no test keeps to itself."""
    return [one.id for one in subjects().values() if one.prompts == "train" and style in one.styles]


def cut(style: str, ids: Iterable[str]) -> Iterator[tuple[Subject, Image.Image]]:
    """Subjects in that style on white, in the order of `ids`."""
    with (files("demo_world") / "sprites.webp").open("rb") as file, Image.open(file) as atlas:
        for name in ids:
            subject = subjects()[name]
            yield subject, _crop(atlas, subject.place, STYLES.index(style))


def _crop(atlas: Image.Image, subject: int, style: int) -> Image.Image:
    left = (subject % ATLAS_COLUMNS * len(STYLES) + style) * SIDE
    top = subject // ATLAS_COLUMNS * SIDE
    sprite = atlas.crop((left, top, left + SIDE, top + SIDE)).convert("RGBA")
    paper = Image.new("RGBA", sprite.size, (255, 255, 255, 255))
    paper.alpha_composite(sprite)
    return paper.convert("RGB")
