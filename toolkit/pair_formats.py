"""The forms in which people keep pairs, photos and likes: two folders, JSON lines, HPDv2's lists, Pick-a-Pic's tables.

A reader yields what it found entry by entry: (where, an item), or (where, why there is none). It looks at no picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.errors import UsageError
from toolkit.pair_items import Candidate, Item, Like, Pair, Photo, Picture, parquet_file

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
CAPTIONS = "captions.jsonl"  # {"file": "a.png", "prompt": "..."} a line, instead of a .txt beside each picture
CHOSEN, REJECTED = ("chosen", "win", "w"), ("rejected", "lose", "l")
NO_PICTURE, NO_ENTRY, OUTSIDE, TIE = "missing picture", "malformed entry", "path outside the folder", "tie"
NO_MASK = "missing mask"

Found = Iterator[tuple[str, Item | str]]


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    prompt: str = ""
    weight: float = Field(default=1.0, ge=0, le=1e6, allow_inf_nan=False)


class _PairLine(_Line):
    chosen: str = ""
    rejected: str = ""
    a: str = ""
    b: str = ""
    label: float | None = Field(default=None, ge=0, le=1)  # 1: a is better, 0: b, 0.5: neither
    margin: float = Field(default=0.0, allow_inf_nan=False)
    score_chosen: float | None = Field(default=None, allow_inf_nan=False)
    score_rejected: float | None = Field(default=None, allow_inf_nan=False)
    mask: str = ""


class _PhotoLine(_Line):
    picture: str = ""
    liked: bool | None = None


class _CandidateLine(_PhotoLine):
    seed: int = Field(default=0, ge=0, lt=2**64)
    index: int = Field(default=0, ge=0)
    model: str = ""
    lora: str = ""
    positive: str = ""
    negative: str = ""


def pairs(source: Path) -> Found:
    """The pairs of a folder, or of a .jsonl, .json (HPDv2) or .parquet (Pick-a-Pic) file."""
    if source.suffix == ".parquet":
        return _from_table(source)
    if source.suffix == ".json":
        return _from_ranks(source)
    if (lines := _lines_of(source, "pairs.jsonl")) is not None:
        return _from_lines(lines, _PairLine, _pair)
    sides = [source / name for names in (CHOSEN, REJECTED) for name in names if (source / name).is_dir()]
    if len(sides) != 2:
        raise unknown(source, "a folder with `chosen/` and `rejected/`, or with a `pairs.jsonl`")
    return _from_sides(*sides)


def photos(source: Path) -> Found:
    """The photos of a folder with captions beside them, or of a .jsonl file."""
    if (lines := _lines_of(source, "photos.jsonl")) is not None:
        return _from_lines(lines, _PhotoLine, _photo)
    if not source.is_dir():
        raise unknown(source, "a folder of pictures with captions")
    return _from_photos(source)


def likes(source: Path) -> Found:
    """The judged pictures of `liked/` and `disliked/`, or of a .jsonl file."""
    if (lines := _lines_of(source, "likes.jsonl")) is not None:
        return _from_lines(lines, _PhotoLine, _like)
    if not all((source / name).is_dir() for name in ("liked", "disliked")):
        raise unknown(source, "a folder with `liked/` and `disliked/`, or with a `likes.jsonl`")
    return _from_verdicts(source)


def candidates(source: Path) -> Found:
    """What ComfyUI's node Save for Arena left in a folder, or in a .jsonl file."""
    if (lines := _lines_of(source, "candidates.jsonl")) is None:
        raise unknown(source, "a folder with a `candidates.jsonl`")
    return _from_lines(lines, _CandidateLine, _candidate)


def unknown(source: Path, expected: str) -> UsageError:
    """The refusal of a place that holds nothing of the kind."""
    return UsageError(f"`{source.name}` is not read: {expected} was expected.", action="See docs/data.md.")


def _lines_of(source: Path, usual: str) -> Path | None:
    if source.is_file():
        if source.suffix != ".jsonl":
            raise unknown(source, "a folder or a .jsonl file")
        return source
    return source / usual if (source / usual).is_file() else None


def _from_lines(path: Path, model: type[_Line], make: Callable[[Path, Any], Item | str]) -> Found:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").split("\n"), 1):
        if line.strip():
            try:
                yield f"line {number}", make(path.parent, model.model_validate_json(line))
            except ValidationError:
                yield f"line {number}", NO_ENTRY


def _pair(root: Path, line: _PairLine) -> Item | str:
    if line.label is not None and line.label == 0.5:
        return TIE
    swapped = line.label is not None and line.label < 0.5
    first, second = (line.chosen, line.rejected) if line.label is None else (line.a, line.b)
    chosen, rejected = _inside(root, second if swapped else first), _inside(root, first if swapped else second)
    if isinstance(chosen, str) or isinstance(rejected, str):
        return chosen if isinstance(chosen, str) else str(rejected)
    mask = _inside(root, line.mask) if line.mask else None
    if isinstance(mask, str):
        return NO_MASK if mask == NO_PICTURE else mask
    has_scores = line.score_chosen is not None and line.score_rejected is not None
    scores = (float(line.score_chosen or 0), float(line.score_rejected or 0)) if has_scores else None
    return Pair(line.prompt, chosen, rejected, line.weight, line.margin, scores, mask)


def _photo(root: Path, line: _PhotoLine) -> Item | str:
    picture = _inside(root, line.picture)
    return picture if isinstance(picture, str) else Photo(line.prompt, picture, line.weight)


def _like(root: Path, line: _PhotoLine) -> Item | str:
    picture = _inside(root, line.picture)
    if isinstance(picture, str) or line.liked is None:
        return picture if isinstance(picture, str) else NO_ENTRY
    return Like(line.prompt, picture, line.weight, line.liked)


def _candidate(root: Path, line: _CandidateLine) -> Item | str:
    picture = _inside(root, line.picture)
    if isinstance(picture, str):
        return picture
    words = (line.positive, line.negative)
    return Candidate(line.prompt, picture, line.weight, line.seed, line.index, line.model, line.lora, words)


def _inside(root: Path, name: str) -> Picture | str:
    """A file below `root`, or why it is none."""
    if not name:
        return NO_PICTURE
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        return OUTSIDE
    return Picture(path) if path.is_file() else NO_PICTURE


def _from_sides(chosen: Path, rejected: Path) -> Found:
    caption = _captions(chosen, rejected)
    better, worse = _by_stem(chosen), _by_stem(rejected)
    for stem in sorted({*better, *worse}):
        both = (better.get(stem), worse.get(stem))
        if both[0] is None or both[1] is None:
            yield f"{(chosen if both[0] is None else rejected).name}/{stem}", NO_PICTURE
        elif any(path and not _is_below(path) for path in both):
            yield stem, OUTSIDE
        else:
            yield stem, Pair(caption(both[0]) or caption(both[1]), Picture(both[0]), Picture(both[1]))


def _from_photos(source: Path) -> Found:
    caption = _captions(source)
    for path in _by_stem(source).values():
        yield path.name, Photo(caption(path), Picture(path)) if _is_below(path) else OUTSIDE


def _from_verdicts(source: Path) -> Found:
    for side, liked in (("liked", True), ("disliked", False)):
        caption = _captions(source / side)
        for path in _by_stem(source / side).values():
            item = Like(caption(path), Picture(path), liked=liked)
            yield f"{side}/{path.name}", item if _is_below(path) else OUTSIDE


def _is_below(path: Path) -> bool:
    """Whether a file really lies in its folder, and not where a link points."""
    return path.resolve().is_relative_to(path.parent.resolve())


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}


def _captions(*folders: Path) -> Callable[[Path], str]:
    """A picture's prompt: of the .txt beside it, else of a `captions.jsonl` in its folder or in the one above."""
    known: dict[str, str] = {}
    for file in {place / CAPTIONS for folder in folders for place in (folder.parent, folder)}:
        for line in file.read_text(encoding="utf-8-sig").splitlines() if file.is_file() else ():
            try:
                content = json.loads(line)
                known[Path(content["file"]).stem] = str(content["prompt"])
            except (ValueError, KeyError, TypeError):
                continue  # its picture then has no prompt, and that is counted

    def of(path: Path) -> str:
        beside = path.with_suffix(".txt")
        text = beside.read_text(encoding="utf-8-sig", errors="replace") if beside.is_file() else known.get(path.stem)
        return (text or "").strip()

    return of


def _from_ranks(source: Path) -> Found:
    """HPDv2: two paths with `human_preference`, or many with `rank` (1 is best), which stand for all strict pairs."""
    try:
        content = json.loads(source.read_text(encoding="utf-8-sig"))
        entries = [(str(e["prompt"]), e.get("file_path") or e["image_path"], _ranks(e)) for e in content]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise unknown(
            source, "a list of {prompt, file_path, human_preference} or {prompt, image_path, rank}"
        ) from error
    for number, (prompt, paths, ranks) in enumerate(entries, 1):
        for (first, rank), (second, other) in combinations(zip(map(str, paths), ranks, strict=False), 2):
            line = _PairLine(prompt=prompt, a=first, b=second, label=(other > rank) + 0.5 * (other == rank))
            yield f"entry {number}", _pair(source.parent, line)


def _ranks(entry: Mapping[str, Any]) -> list[float]:
    return (
        [float(rank) for rank in entry["rank"]] if "rank" in entry else [-float(p) for p in entry["human_preference"]]
    )


def _from_table(source: Path) -> Found:
    """Pick-a-Pic: jpg_0, jpg_1, caption, label_0 (1, 0 or 0.5), has_label."""
    table = parquet_file(source)
    names = set(table.schema_arrow.names)
    if not {"jpg_0", "jpg_1", "caption", "label_0"} <= names:
        raise unknown(source, "a table with the columns jpg_0, jpg_1, caption and label_0")
    columns = [name for name in ("caption", "label_0", "has_label") if name in names]
    for row, entry in enumerate(table.read(columns=columns).to_pylist()):
        label = entry["label_0"] if entry.get("has_label", True) else None
        sides = [Picture(source.resolve(), row, f"jpg_{side}") for side in (0, 1)]
        if label not in (0, 1):
            yield f"row {row}", TIE if label == 0.5 else NO_ENTRY
        else:
            chosen, rejected = sides if label == 1 else reversed(sides)
            yield f"row {row}", Pair((entry["caption"] or "").strip(), chosen, rejected)
