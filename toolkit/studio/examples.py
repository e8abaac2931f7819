"""What the demo's style words look like: a few of the pictures that the embedded model learned from."""

from __future__ import annotations

import base64
import io
import json
from functools import cache
from importlib.resources import files

from PIL import Image

SIDE, ATLAS_COLUMNS = 64, 16
STYLES = ("3d render", "flat icon", "line art", "cartoon")  # the atlas holds four sprites a subject, in this order
SHOWN = ("tiger-face", "dolphin", "butterfly", "flamingo", "hot-beverage", "red-apple", "rocket", "snail")
MOST = 5


@cache
def pictures(word: str) -> tuple[tuple[str, str], ...]:
    """(name, data URL) of a few subjects in that style; nothing for a word that is no style of the demo."""
    if word not in STYLES:
        return ()
    subjects = json.loads((files("demo_world") / "subjects.json").read_text(encoding="utf-8"))
    places = {subject["id"]: (number, subject["name"]) for number, subject in enumerate(subjects)}
    with (files("demo_world") / "sprites.webp").open("rb") as file, Image.open(file) as atlas:
        found = [places[name] for name in SHOWN if name in places][:MOST]
        return tuple((name, _crop(atlas, number, STYLES.index(word))) for number, name in found)


def _crop(atlas: Image.Image, subject: int, style: int) -> str:
    left = (subject % ATLAS_COLUMNS * len(STYLES) + style) * SIDE
    top = subject // ATLAS_COLUMNS * SIDE
    sprite = atlas.crop((left, top, left + SIDE, top + SIDE)).convert("RGBA")
    paper = Image.new("RGBA", sprite.size, (255, 255, 255, 255))
    paper.alpha_composite(sprite)
    buffer = io.BytesIO()
    paper.convert("RGB").save(buffer, "WEBP", quality=88)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
