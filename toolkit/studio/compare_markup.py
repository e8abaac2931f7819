"""The Compare page's drawn parts: how a comparison stands, its pictures, and the earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.comparison import Request
from toolkit.comparison_folder import ComparisonFolder, Progress
from toolkit.run_folder import FAILED, INTERRUPTED, RUNNING, STOPPED
from toolkit.studio import before_after, comparing
from toolkit.studio.before_after import GHOST, Sheet
from toolkit.studio.markup import file_url, notice, text

BORDER_LABEL = "Left and right side on top of each other: move the border"
CAPTION = "Prompts and seeds down, choices across; one row shares one seed"
TONES = {FAILED: "bad", INTERRUPTED: "watch", STOPPED: "quiet"}


def intro(*, is_empty: bool) -> str:
    """What the page is for, or what it needs first."""
    if not is_empty:
        return '<p class="lead">The same prompts and seeds, drawn by each.</p>'
    return (
        '<p class="lead">No run can be compared yet. The first checkpoint of one is enough.</p>'
        '<p class="first-step"><a class="button primary" href="./">Teach a taste</a></p>'
    )


def standing(progress: Progress, sheet: Sheet) -> str:
    """How far the pictures are, or why there are no more."""
    total = len(sheet.columns) * len(sheet.rows)
    done = sum(path is not None for row in sheet.rows for path in row.pictures)
    if progress.is_active:
        words = f"{done} of {total} pictures" if progress.status == RUNNING else "Waiting to be drawn"
        words = "Loading the base" if progress.status == RUNNING and not done else words
        return (
            f'<p class="progress-line"><progress max="{total}" value="{done}" aria-label="pictures drawn"></progress>'
            f'<span class="quiet">{words}</span></p>{spoken(words if done in (0, total) else "")}'
        )
    if tone := TONES.get(progress.status):
        return notice(tone, progress.message) + spoken(progress.message)
    return spoken(f"{total} pictures are drawn.")


def spoken(words: str) -> str:
    """What a screen reader is told by the page's script."""
    return f'<span hidden data-spoken="{text(words)}" data-title="Compare"></span>' if words else ""


def slider(sheet: Sheet | None) -> str:
    """Two sides on top of each other, or what will be there."""
    if sheet is None:
        return before_after.to_come("Both sides will lie here, one over the other. Press Draw.")
    if not sheet.laid:
        return before_after.to_come("Both sides will lie here, one over the other, as soon as both are drawn.")
    return before_after.slider(sheet, BORDER_LABEL)


def grid(sheet: Sheet | None) -> str:
    """Every picture."""
    if sheet is None:
        return before_after.blank_grid(2, 2)
    play = '<p class="play"><button type="button" class="button small" data-play>Play all clips</button></p>'
    has_clips = any(clip for row in sheet.rows for clip in row.clips)
    return (play if has_clips else "") + before_after.grid(sheet, CAPTION, absent=GHOST)


def take_along(folder: ComparisonFolder) -> str:
    """The finished sheet."""
    if not folder.sheet.is_file():
        return ""
    return (
        f'<a class="button small" href="{file_url(folder.sheet)}" download="compare-{text(folder.name)}.png">'
        "Download the sheet</a>"
    )


def earlier(found: Sequence[tuple[ComparisonFolder, Request]]) -> str:
    """Links to comparisons that are still here."""
    if not found:
        return '<p class="quiet">None yet. Each stays here, also after a restart.</p>'
    rows = "".join(
        f'<li><a href="./compare?show={folder.name}">{_about(request)}</a></li>' for folder, request in found
    )
    return f'<ul class="files">{rows}</ul>'


def _about(request: Request) -> str:
    asked = request.comparison
    names = list(dict.fromkeys(column.choice for column in asked.columns))
    preset = comparing.fields(request).preset
    kind = next(label for label, value in comparing.PRESETS if value == preset)
    first, *others = asked.prompts
    more = f" and {len(others)} more" if others else ""
    return text(f"{kind} of {', '.join(names)}: {first}{more}")
