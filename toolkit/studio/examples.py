"""What the demo's style words look like: a few of the pictures that the embedded model learned from."""

from __future__ import annotations

import base64
import io
from functools import cache

from PIL import Image

from toolkit import demo_pictures

SHOWN = ("tiger-face", "dolphin", "butterfly", "flamingo", "hot-beverage", "red-apple", "rocket", "snail")
MOST = 5


@cache
def pictures(word: str) -> tuple[tuple[str, str], ...]:
    """(name, data URL) of a few subjects in that style; nothing for a word that is no style of the demo."""
    if word not in demo_pictures.STYLES:
        return ()
    known = [name for name in SHOWN if name in demo_pictures.subjects()][:MOST]
    return tuple((subject.name, _data_url(picture)) for subject, picture in demo_pictures.cut(word, known))


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=88)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
