"""The Compare page's drawn parts: how a comparison stands, its pictures, and the earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.comparison import Request
from toolkit.comparison_folder import ComparisonFolder, Progress
from toolkit.run_folder import FAILED, INTERRUPTED, RUNNING, STOPPED
from toolkit.studio import before_after, comparing
from toolkit.studio.before_after import GHOST, Sheet
from toolkit.studio.markup import file_url, notice, text
from toolkit.studio.speech import phrase, say, told

BORDER_LABEL = phrase("Left and right side on top of each other: move the border")
CAPTION = phrase("Prompts and seeds down, choices across; one row shares one seed")
TONES = {FAILED: "bad", INTERRUPTED: "watch", STOPPED: "quiet"}


def intro(*, is_empty: bool) -> str:
    """What the page is for, or what it needs first."""
    if not is_empty:
        return f'<p class="lead">{say("The same prompts and seeds, drawn by each.")}</p>'
    return (
        f'<p class="lead">{say("No run can be compared yet. The first checkpoint of one is enough.")}</p>'
        f'<p class="first-step"><a class="button primary" href="./">{say("Teach a taste")}</a></p>'
    )


def standing(progress: Progress, sheet: Sheet) -> str:
    """How far the pictures are, or why there are no more."""
    total = len(sheet.columns) * len(sheet.rows)
    done = sum(path is not None for row in sheet.rows for path in row.pictures)
    if progress.is_active:
        words = say("{done} of {all} pictures", done=done, all=total)
        if progress.status != RUNNING:
            words = say("Waiting to be drawn")
        elif not done:
            words = say("Loading the base")
        label = say("pictures drawn")
        return (
            f'<p class="progress-line"><progress max="{total}" value="{done}" aria-label="{label}"></progress>'
            f'<span class="quiet">{words}</span></p>{spoken(words if done in (0, total) else "")}'
        )
    if tone := TONES.get(progress.status):
        return notice(tone, told(progress.message)) + spoken(told(progress.message))
    return spoken(say("{count} pictures are drawn.", count=total))


def spoken(words: str) -> str:
    """What a screen reader is told by the page's script."""
    return f'<span hidden data-spoken="{text(words)}" data-title="{say("Compare")}"></span>' if words else ""


def slider(sheet: Sheet | None) -> str:
    """Two sides on top of each other, or what will be there."""
    if sheet is None:
        return before_after.to_come(say("Both sides will lie here, one over the other. Press Draw."))
    if not sheet.laid:
        return before_after.to_come(say("Both sides will lie here, one over the other, as soon as both are drawn."))
    return before_after.slider(sheet, say(BORDER_LABEL))


def grid(sheet: Sheet | None) -> str:
    """Every picture."""
    if sheet is None:
        return before_after.blank_grid(2, 2)
    play = f'<p class="play"><button type="button" class="button small" data-play>{say("Play all clips")}</button></p>'
    has_clips = any(clip for row in sheet.rows for clip in row.clips)
    return (play if has_clips else "") + before_after.grid(sheet, say(CAPTION), absent=GHOST)


def take_along(folder: ComparisonFolder) -> str:
    """The finished sheet."""
    if not folder.sheet.is_file():
        return ""
    return (
        f'<a class="button small" href="{file_url(folder.sheet)}" download="compare-{text(folder.name)}.png">'
        f"{say('Download the sheet')}</a>"
    )


def earlier(found: Sequence[tuple[ComparisonFolder, Request]]) -> str:
    """Links to comparisons that are still here."""
    if not found:
        return f'<p class="quiet">{say("None yet. Each stays here, also after a restart.")}</p>'
    rows = "".join(
        f'<li><a href="./compare?show={folder.name}">{_about(request)}</a></li>' for folder, request in found
    )
    return f'<ul class="files">{rows}</ul>'


def _about(request: Request) -> str:
    asked = request.comparison
    names = list(dict.fromkeys(column.choice for column in asked.columns))
    preset = comparing.fields(request).preset
    kind = say(next(label for label, value in comparing.PRESETS if value == preset))
    first, *others = asked.prompts
    more = say(" and {count} more", count=len(others)) if others else ""
    return text(say("{kind} of {names}: {prompt}", kind=kind, names=", ".join(names), prompt=first) + more)
