"""Pictures to look at along a word pair: the demo's own, a folder's, or those that runs have drawn.

A picture is named by one string: `demo:<style>/<subject>` or the path of its file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageOps

from toolkit import demo_pictures
from toolkit.errors import UsageError
from toolkit.pair_formats import SUFFIXES
from toolkit.run_folder import RunFolder, all_runs

DEMO = "demo:"
SUBJECTS = 16  # of the demo's, in each style
MOST, MOST_OF_A_RUN = 240, 32
LONGEST_SIDE = 1024  # pixels that a scorer is given; none looks closer


@dataclass(frozen=True)
class PictureSet:
    """(name, caption) of each picture, and one digest of what they are."""

    pictures: tuple[tuple[str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What to open."""
        return tuple(name for name, _ in self.pictures)

    @property
    def digest(self) -> str:
        """Changes when a file is exchanged, told by its size and time."""
        content = "\n".join(f"{name} {stamp(name)}" for name in self.names)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def demo() -> PictureSet:
    """Pictures that the embedded model and its rewards learned from; none that a test keeps to itself."""
    known = demo_pictures.subjects()
    return PictureSet(
        tuple(
            (f"{DEMO}{style}/{subject}", f"{known[subject].name}, {style}")
            for style in demo_pictures.STYLES
            for subject in _subjects(style)
        )
    )


@cache
def _subjects(style: str) -> tuple[str, ...]:
    known = demo_pictures.trained_on(style)
    return tuple(known[:: max(1, len(known) // SUBJECTS)][:SUBJECTS])


def of_folder(place: str) -> PictureSet:
    """The first pictures directly in that folder, by name. Raises UsageError."""
    if not place.strip():
        raise UsageError("No folder is given.", action="Type the path of a folder with pictures.")
    folder = Path(place.strip()).expanduser()
    if not folder.is_absolute() or not folder.is_dir():
        raise UsageError(f"There is no folder “{place.strip()}”.", action="Give its path in full.")
    try:
        found = sorted(path for path in folder.iterdir() if _is_picture(path))
    except OSError as error:
        raise UsageError(f"“{folder}” cannot be read: {error.strerror}.", action="Choose another folder.") from error
    if not found:
        raise UsageError(f"No pictures lie in “{folder}”.", action=f"It looks for {', '.join(SUFFIXES)}.")
    return PictureSet(tuple((str(path), path.name) for path in found[:MOST]))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def of_runs(root: Path) -> PictureSet:
    """The newest runs' previews, the base's and the latest. Raises UsageError while there are none."""
    pictures = [entry for run in all_runs(root) for entry in _of_run(run)][:MOST]
    if not pictures:
        raise UsageError("No run has drawn pictures yet.", action="Start one, or choose other pictures.")
    return PictureSet(tuple(pictures))


def _of_run(run: RunFolder) -> list[tuple[str, str]]:
    drawn = run.preview_pictures()
    latest = max((preview.update for preview in drawn), default=0)
    entries = []
    for one in drawn:
        if one.update in (0, latest):
            when = f"update {one.update}" if one.update else "base"
            entries.append((str(one.path), f"{run.name}, {when}, prompt {one.prompt_index + 1}"))
    return entries[:MOST_OF_A_RUN]


def stamp(name: str) -> str:
    """Size and time of a picture's file; nothing for one that ships."""
    if name.startswith(DEMO):
        return ""
    try:
        status = Path(name).stat()
    except OSError:
        return "gone"
    return f"{status.st_size}:{status.st_mtime_ns}"


def opened(name: str) -> Image.Image:
    """The picture itself, RGB, upright, its longest side at most 1024. Raises UsageError when it cannot be read."""
    if name.startswith(DEMO):
        style, _, subject = name.removeprefix(DEMO).partition("/")
        if style not in demo_pictures.STYLES or subject not in _subjects(style):
            raise UsageError(f"The demo has no picture `{name}`.")
        return _cut(style)[subject]
    try:
        with Image.open(name) as file:
            file.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            picture = ImageOps.exif_transpose(file).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"`{Path(name).name}` is not a picture that can be read.") from error
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return picture


@cache
def _cut(style: str) -> dict[str, Image.Image]:
    return {subject.id: picture for subject, picture in demo_pictures.cut(style, _subjects(style))}


def ranked(margins: Iterable[float | None]) -> list[int]:
    """Places of the pictures that have a margin, the largest first; equal ones keep their order."""
    known = [(-margin, place) for place, margin in enumerate(margins) if margin is not None]
    return [place for _, place in sorted(known)]
