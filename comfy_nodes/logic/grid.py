"""Pictures or clips side by side, with labels above and beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from . import hostile

MOST_CELLS = 64
LONGEST_SIDE = 16_383  # pixels; WebP, in which a clip is shown, holds no more
MOST_NUMBERS = 1 << 31  # of a clip; 8 GiB in float32
PAPER, INK = (250, 250, 248), (38, 38, 42)
SMALLEST, LARGEST = 12, 48  # pixels of the writing
PER_CELL = 22  # times the writing fits into a cell's shorter side
WIDEST = 12  # times its own size: how wide a label may be above a narrow cell; twice that beside it

Label = Sequence[str]  # its lines


def check_cells(columns: int, rows: int) -> None:
    """Raises ValueError with a sentence for more cells than anybody would wait for."""
    if columns * rows > MOST_CELLS:
        raise ValueError(
            f"{columns} columns and {rows} rows are {columns * rows} cells, and {MOST_CELLS} are the most. "
            "Take fewer strengths, words or seeds."
        )


class Pen:
    """Pillow's own font in one size; an old Pillow, or one without FreeType, has a single small one."""

    def __init__(self, size: int) -> None:
        try:
            self.font: Any = ImageFont.load_default(size)
        except (TypeError, ImportError):
            self.font = ImageFont.load_default()
        self.line = self.font.getbbox("Ág")[3] + size // 4

    def width(self, labels: Sequence[Label]) -> int:
        """Of the widest line."""
        return max((ceil(self.font.getlength(line)) for label in labels for line in label), default=0)

    def height(self, labels: Sequence[Label]) -> int:
        """Of the label with the most lines."""
        return self.line * max(map(len, labels), default=0)

    def shorten(self, text: str, width: int) -> str:
        """One line that this font can write, no wider than that."""
        shown = hostile.line(text)
        if isinstance(self.font, ImageFont.ImageFont):
            shown = shown.encode("latin-1", "replace").decode("latin-1")
        if self.font.getlength(shown) <= width:
            return shown
        while shown and self.font.getlength(f"{shown}...") > width:
            shown = shown[:-1].rstrip()
        return f"{shown}..."

    def write(self, paper: Image.Image, lines: Label, corner: tuple[int, int], width: int | None = None) -> None:
        """Line below line from (left, top), each in the middle of the width if one is given."""
        left, top = corner
        for place, line in enumerate(lines):
            aside = 0 if width is None else (width - ceil(self.font.getlength(line))) // 2
            ImageDraw.Draw(paper).text((left + aside, top + place * self.line), line, INK, self.font)


@dataclass(frozen=True)
class Layout:
    """Where everything stands, in pixels. corners: (top, left) of every cell, row by row."""

    height: int
    width: int
    corners: list[tuple[int, int]]
    labels: Tensor  # [height, width, 3], the paper with everything that is written


def draw(cells: Sequence[Tensor], columns: Sequence[Label], rows: Sequence[Label]) -> Tensor:
    """cells: row by row, [F,h,w,3 or more] in [0,1], all of one shape → [F,H,W,3], in which they lie unchanged."""
    frames, height, width = cells[0].shape[:3]
    layout = lay_out((frames, height, width), columns, rows)
    picture = layout.labels.expand(frames, -1, -1, -1).clone()
    for cell, (top, left) in zip(cells, layout.corners, strict=True):
        picture[:, top : top + height, left : left + width] = cell[..., :3]
    return picture


def lay_out(cell: tuple[int, int, int], columns: Sequence[Label], rows: Sequence[Label]) -> Layout:
    """cell: frames, height, width of one. Raises ValueError with a sentence for what would be too large."""
    check_cells(len(columns), len(rows))
    frames, height, width = cell
    size = min(max(min(height, width) // PER_CELL, SMALLEST), LARGEST)
    pen = Pen(size)
    above = [[pen.shorten(line, max(width, WIDEST * size)) for line in label] for label in columns]
    beside = [[pen.shorten(line, max(width, 2 * WIDEST * size)) for line in label] for label in rows]
    gap = size // 2
    column, row = max(width, pen.width(above)), max(height, pen.height(beside))
    header, margin = pen.height(above) + 2 * gap, pen.width(beside) + 2 * gap
    lefts = [margin + index * (column + gap) for index in range(len(columns))]
    tops = [header + index * (row + gap) for index in range(len(rows))]
    down, across = tops[-1] + row + gap, lefts[-1] + column + gap
    _check_size(frames, down, across)
    paper = Image.new("RGB", (across, down), PAPER)
    for left, lines in zip(lefts, above, strict=True):
        pen.write(paper, lines, (left, header - gap - pen.height([lines])), column)
    for top, lines in zip(tops, beside, strict=True):
        pen.write(paper, lines, (gap, top + (row - pen.height([lines])) // 2))
    corners = [(top + (row - height) // 2, left + (column - width) // 2) for top in tops for left in lefts]
    return Layout(down, across, corners, torch.from_numpy(np.array(paper, dtype=np.float32) / 255))


def _check_size(frames: int, height: int, width: int) -> None:
    if max(height, width) > LONGEST_SIDE or frames * height * width * 3 > MOST_NUMBERS:
        raise ValueError(
            f"The grid would have {width} × {height} pixels{f' and {frames} frames' if frames > 1 else ''}. "
            "Take smaller latents, or fewer strengths, words or seeds."
        )
