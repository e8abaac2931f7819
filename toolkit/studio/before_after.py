"""Pictures of the same seeds as HTML: two on top of each other with a border to move, and all as a grid. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.studio.markup import file_url, picture, text

GHOST = '<div class="ghost picture"></div>'


@dataclass(frozen=True)
class Row:
    """Pictures of one prompt and seed, one per column; None where there is none, or none yet."""

    prompt: str
    seed: str
    pictures: Sequence[Path | None]
    clips: Sequence[Path | None] = ()

    @property
    def label(self) -> str:
        """What it is chosen by."""
        return f"{self.prompt} · {self.seed}" if self.seed else self.prompt


@dataclass(frozen=True)
class Sheet:
    """Columns beside each other. `key` names it for the page's script; `facts` is what all pictures share."""

    key: str
    columns: Sequence[str]
    rows: Sequence[Row]
    facts: str
    before: int = 0
    after: int = 1

    @property
    def laid(self) -> list[Row]:
        """The rows that both sides of the slider have."""
        return [row for row in self.rows if row.pictures[self.before] and row.pictures[self.after]]


def slider(sheet: Sheet, border: str) -> str:
    """One row's two sides on top of each other, for a sheet that has one; with more columns the sides can be chosen.

    The page's script moves the border and changes pictures. border: names the control for those who cannot see it.
    """
    first = sheet.laid[0]
    sides = (("before", sheet.before), ("after", sheet.after))
    images = "".join(
        f'<span class="{side}"><img src="{_url(first.pictures[column])}" '
        f'alt="{text(f"{sheet.columns[column]}: {first.prompt}")}"></span>'
        for side, column in sides
    )
    names = "".join(
        f'<span class="side {place}">{text(sheet.columns[column])}</span>'
        for place, (_, column) in zip(("left", "right"), sides, strict=True)
    )
    return (
        f'<figure class="compare" data-key="{text(sheet.key)}" data-before="{sheet.before}" data-after="{sheet.after}">'
        f'<div class="pictures">{images}{names}<span class="border" aria-hidden="true"></span>'
        f'<input type="range" min="0" max="100" value="50" aria-label="{text(border)}"></div>'
        f"<figcaption><label>Prompt <select data-row>{_options(sheet)}</select></label>{_side_choices(sheet)}"
        f'<span class="looks">{_LOOKS}</span><span class="quiet">{text(sheet.facts)}</span></figcaption></figure>'
    )


_LOOKS = (
    '<button type="button" class="button small" data-toggle>Before only</button>'
    '<button type="button" class="button small" data-zoom="1">Zoom 1×</button>'
)


def _options(sheet: Sheet) -> str:
    return "".join(
        f'<option value="{number}" data-alt="{text(row.prompt)}"'
        + "".join(f' data-p{column}="{_url(path)}"' for column, path in enumerate(row.pictures) if path)
        + f">{text(row.label)}</option>"
        for number, row in enumerate(sheet.rows)
        if row in sheet.laid
    )


def _side_choices(sheet: Sheet) -> str:
    if len(sheet.columns) == 2:
        return ""
    named = [(f'<option value="{number}"', f">{text(name)}</option>") for number, name in enumerate(sheet.columns)]
    drawn = []
    for label, side, chosen in (("Left", "before", sheet.before), ("Right", "after", sheet.after)):
        options = "".join(
            f"{head}{' selected' if number == chosen else ''}{tail}" for number, (head, tail) in enumerate(named)
        )
        drawn.append(f'<label>{label} <select data-side="{side}">{options}</select></label>')
    return "".join(drawn)


def grid(sheet: Sheet, caption: str, *, titles: Sequence[str] = (), absent: str = "") -> str:
    """Rows down, columns across; each picture opens large. titles: HTML in place of the columns' names; absent: HTML
    in place of a picture that is not there."""
    heads = titles or [text(name) for name in sheet.columns]
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    rows = "".join(
        f'<tr><th scope="row">{text(row.label)}</th>'
        f"{''.join(_cell(sheet, row, column, absent) for column in range(len(heads)))}</tr>"
        for row in sheet.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{text(caption)}"><table class="grid">'
        f"<caption>{text(caption)}</caption><thead><tr><td></td>{top}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(sheet: Sheet, row: Row, column: int, absent: str) -> str:
    path, name = row.pictures[column], sheet.columns[column]
    if path is None:
        return f"<td>{absent}</td>"
    caption = " · ".join(part for part in (name, sheet.facts, row.label) if part)
    clip = row.clips[column] if row.clips else None
    moves = f' data-clip="{file_url(clip)}"' if clip else ""
    shown = picture(path, f"{name}: {row.prompt}")
    return f'<td><button type="button" class="open" data-caption="{text(caption)}"{moves}>{shown}</button></td>'


def to_come(words: str, shown: str = GHOST) -> str:
    """The slider's place before there are two pictures. shown: HTML of what there is."""
    caption = f'<figcaption class="quiet">{text(words)}</figcaption>' if words else ""
    return f'<figure class="compare empty"><div class="pictures">{shown}</div>{caption}</figure>'


def blank_grid(columns: int, rows: int) -> str:
    """The grid's layout in neutral blocks."""
    cells = f"<td>{GHOST}</td>" * columns
    drawn = f'<tr><th scope="row"><span class="ghost line"></span></th>{cells}</tr>' * rows
    return f'<div class="scroll"><table class="grid"><tbody>{drawn}</tbody></table></div>'


def _url(path: Path | None) -> str:
    return file_url(path) if path else ""
