"""Preference pairs, photos and likes on disk: read, checked entry by entry, and told what was kept and what was not.

An entry that cannot be trusted is dropped as a whole, never one side of it; nothing here ends in a traceback.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image, ImageOps, ImageSequence

from toolkit import pair_formats
from toolkit.errors import UsageError
from toolkit.pair_formats import Found
from toolkit.pair_items import Candidate, Item, Like, Pair, Photo, Picture

Kind = Literal["pairs", "photos", "likes"]
KINDS: tuple[Kind, ...] = ("pairs", "photos", "likes")  # what a recipe may name
Readable = Kind | Literal["candidates"]
READERS: dict[str, Callable[[Path], Found]] = {
    "pairs": pair_formats.pairs,
    "photos": pair_formats.photos,
    "likes": pair_formats.likes,
    "candidates": pair_formats.candidates,
}
EMPTY, BROKEN, SAME = "empty prompt", "broken picture", "the same picture twice"
ASPECTS, LENGTHS = "different aspect ratios", "different numbers of frames"
TWICE, CONTRADICTION = "duplicate", "contradictory labels"
BROKEN_MASK, MASK_SHAPE, EMPTY_MASK = "broken mask", "mask of another aspect", "empty mask"
ADVICE = {
    pair_formats.NO_PICTURE: "Add the files, or take the entries out.",
    pair_formats.NO_ENTRY: "See docs/data.md for what an entry looks like.",
    pair_formats.OUTSIDE: "Copy the files into the folder.",
    pair_formats.TIE: "Say which side is better, or leave them out: a tie teaches nothing.",
    pair_formats.NO_MASK: "Add the masks, or take the word `mask` out of the entries.",
    EMPTY: "Write their captions: NAME.txt beside NAME.png, or `prompt` in the entry.",
    BROKEN: "Save them again, as .png for instance; downloads may be cut short.",
    SAME: "Give two different pictures.",
    ASPECTS: "Cut both sides alike; only their size may differ.",
    LENGTHS: "Cut both clips to the same number of frames.",
    TWICE: "Nothing is lost; `weight: 2` lets an entry count twice.",
    CONTRADICTION: "Keep the entry you mean, or give each a mask of its own.",
    BROKEN_MASK: "Save the masks again as .png.",
    MASK_SHAPE: "Give the masks the aspect ratio of their pictures.",
    EMPTY_MASK: "Paint white where the two pictures are to be compared.",
}
ASPECT = 0.02  # by how much the two aspect ratios of a pair may differ; both are cut to the base's size
SHOWN = 3  # places that are named of each reason


class Shape(NamedTuple):
    """What a picture's bytes are."""

    digest: str
    width: int
    height: int
    frames: int


@dataclass(frozen=True)
class Findings:
    """What a data set holds: the items to use, and where others were dropped, by reason."""

    kept: tuple[Item, ...]
    dropped: Mapping[str, tuple[str, ...]]

    @property
    def sentence(self) -> str:
        """Counts, reasons and the first places of each."""
        lost = sum(map(len, self.dropped.values()))
        reasons = [f"{reason}: {len(places)} ({_some(places)})" for reason, places in self.dropped.items()]
        return f"{len(self.kept)} kept, {lost} dropped" + (f": {'; '.join(reasons)}." if reasons else ".")


def read(kind: Readable, source: str | Path) -> Findings:
    """Everything usable of a folder or file. Raises UsageError when there is nothing, with the reasons."""
    path = Path(source).expanduser()
    if not path.exists():
        raise UsageError(
            f"The {kind} `{source}` do not exist.",
            action="Check the path, or make pairs with `palate pairs build`." if kind == "pairs" else "Check the path.",
        )
    try:
        found = check(READERS[kind](path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The {kind} `{source}` cannot be read: {error}.", action="Check the files.") from error
    if not found.kept:
        raise UsageError(
            f"`{source}` holds no usable {kind}.",
            cause=found.sentence,
            action=ADVICE[max(found.dropped, key=lambda reason: len(found.dropped[reason]))]
            if found.dropped
            else "See docs/data.md for the forms that are read.",
        )
    return found


def check(found: Iterable[tuple[str, Item | str]]) -> Findings:
    """Look at every picture, and at entries beside each other."""
    dropped: dict[str, list[str]] = defaultdict(list)
    known: dict[Picture, Shape | None] = {}
    good: dict[Any, tuple[str, Item]] = {}
    for where, item in found:
        seen = item if isinstance(item, str) else _seen(item, known)
        if isinstance(seen, str):
            dropped[seen].append(where)
        elif _key(seen) in good:
            dropped[TWICE].append(where)
        else:
            good[_key(seen)] = (where, seen)
    for key in [key for key in good if _opposite(key) in good]:
        dropped[CONTRADICTION].append(good[key][0])
    kept = tuple(item for key, (_, item) in good.items() if _opposite(key) not in good)
    return Findings(kept, {reason: tuple(places) for reason, places in sorted(dropped.items())})


def _seen(item: Item, known: dict[Picture, Shape | None]) -> Item | str:
    """The item with its pictures' digests, or why it is dropped."""
    if not item.prompt.strip():
        return EMPTY
    names = ("chosen", "rejected") if isinstance(item, Pair) else ("picture",)
    shapes: list[Shape] = []
    for name in names:
        picture = getattr(item, name)
        if picture not in known:
            known[picture] = shape(picture)
        if (found := known[picture]) is None:
            return BROKEN
        shapes.append(found)
        item = replace(item, **{name: replace(picture, digest=found.digest, frames=found.frames)})
    if len(shapes) == 2 and shapes[0].digest == shapes[1].digest:
        return SAME
    if len(shapes) == 2 and shapes[0].frames != shapes[1].frames:
        return LENGTHS
    if len(shapes) == 2 and not _alike(*shapes):
        return ASPECTS
    if isinstance(item, Pair) and item.mask:
        mask = _mask(item.mask, shapes[0])
        return mask if isinstance(mask, str) else replace(item, mask=mask)
    return item


def _mask(mask: Picture, of: Shape) -> Picture | str:
    """The mask with its digest, or why it is none for pictures of this shape; it may be smaller or larger than they."""
    if (found := shape(mask)) is None:
        return BROKEN_MASK
    if not _alike(found, of):
        return MASK_SHAPE
    if frames(mask)[0].convert("L").getbbox() is None:
        return EMPTY_MASK
    return replace(mask, digest=found.digest)


def shape(picture: Picture) -> Shape | None:
    """What the bytes hold, read to their end; None for what is no whole picture."""
    try:
        data = picture.read()
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            width, height = ImageOps.exif_transpose(image).size if image.getexif().get(0x0112) else image.size
            image.draft("RGB", (64, 64))  # a JPEG is read to its end all the same, but decoded in an eighth of the size
            image.load()
            return Shape(hashlib.sha256(data).hexdigest(), width, height, getattr(image, "n_frames", 1))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def frames(picture: Picture) -> list[Image.Image]:
    """All frames in time order, upright and in RGB; one for a still picture."""
    with Image.open(io.BytesIO(picture.read())) as image:
        return [ImageOps.exif_transpose(frame).convert("RGB") for frame in ImageSequence.Iterator(image)]


def fingerprint(source: str) -> str:
    """A hash of what a data set says and of its files' sizes; of its name while there is no such thing."""
    path = Path(source).expanduser()
    if not path.exists():
        return hashlib.sha256(source.encode()).hexdigest()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    seen = hashlib.sha256()
    for file in files:
        is_text = file.suffix in (".txt", ".json", ".jsonl", ".safetensors")
        said = file.read_bytes() if is_text else str(file.stat().st_size).encode()
        seen.update(b"\0".join([file.relative_to(path.parent if path.is_file() else path).as_posix().encode(), said]))
    return seen.hexdigest()


def _alike(one: Shape, other: Shape) -> bool:
    aspects = [shape.width / shape.height for shape in (one, other)]
    return max(aspects) / min(aspects) <= 1 + ASPECT


def _key(item: Item) -> tuple[Any, ...]:
    if isinstance(item, Pair):
        return (item.prompt, item.chosen.digest, item.rejected.digest, item.mask.digest if item.mask else "")
    return (
        (item.prompt, item.picture.digest, item.liked) if isinstance(item, Like) else (item.prompt, item.picture.digest)
    )


def _opposite(key: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The key of an item that says the contrary."""
    if len(key) < 3:
        return None
    return (*key[:2], not key[2]) if isinstance(key[2], bool) else (key[0], key[2], key[1], key[3])


def _some(places: tuple[str, ...]) -> str:
    return ", ".join(places[:SHOWN]) + (" …" if len(places) > SHOWN else "")


__all__ = [
    "Candidate",
    "Findings",
    "Kind",
    "Like",
    "Pair",
    "Photo",
    "Picture",
    "check",
    "fingerprint",
    "frames",
    "read",
    "shape",
]
