"""Small pictures as data URLs: what the demo's style words look like, and whatever lies along a pair of words."""

from __future__ import annotations

import base64
import io
from functools import cache, lru_cache

from PIL import Image

from toolkit import demo_pictures, picture_sets

SHOWN = ("tiger-face", "dolphin", "butterfly", "flamingo", "hot-beverage", "red-apple", "rocket", "snail")
MOST = 5
SIDE = 256


@cache
def pictures(word: str) -> tuple[tuple[str, str], ...]:
    """(name, data URL) of a few subjects in that style; nothing for a word that is no style of the demo."""
    if word not in demo_pictures.STYLES:
        return ()
    known = [name for name in SHOWN if name in demo_pictures.subjects()][:MOST]
    return tuple((subject.name, _data_url(picture)) for subject, picture in demo_pictures.cut(word, known))


def thumbnail(name: str) -> str:
    """A data URL of a picture as `picture_sets` names it. Raises UsageError when it cannot be read."""
    return _thumbnail(name, picture_sets.stamp(name))


@lru_cache(maxsize=512)
def _thumbnail(name: str, stamp: str) -> str:
    picture = picture_sets.opened(name).copy()
    picture.thumbnail((SIDE, SIDE))
    return _data_url(picture)


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=88)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
