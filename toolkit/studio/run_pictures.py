"""A run's pictures as HTML: before and after on top of each other, and the grid of previews. Purely from a View."""

from __future__ import annotations

from toolkit.studio import before_after, reading
from toolkit.studio.before_after import Row, Sheet
from toolkit.studio.markup import picture
from toolkit.studio.reading import View

MOST_COLUMNS = 7
BORDER_LABEL = "Base on the left, trained on the right: move the border"


def sheet(view: View, updates: list[int], facts: str) -> Sheet:
    """The previews of these updates side by side."""
    indices = sorted({index for update in updates for index in view.previews.get(update, {})})
    found = [[view.previews.get(update, {}).get(index) for update in updates] for index in indices]
    rows = [
        Row(view.prompt(index), "", [preview and preview.path for preview in previews])
        for index, previews in zip(indices, found, strict=True)
    ]
    return Sheet(view.title, [_name(update) for update in updates], rows, facts)


def slider(view: View) -> str:
    """Base and result of one prompt on top of each other; the page's script moves the border and changes the prompt."""
    update = view.shown_update
    kept = " · best kept" if view.best == update else " · not kept" if view.kept_base else ""
    both = sheet(view, [0, update or 0], f"seed {_seed(view)} · strength 1{kept}")
    if not update or not both.laid:
        return _slider_to_come(view)
    return before_after.slider(both, BORDER_LABEL)


def _seed(view: View) -> str:
    return str(view.recipe.training.seed) if view.recipe else "?"


def _slider_to_come(view: View) -> str:
    base = view.previews.get(0, {})
    if base and view.state.is_active:
        words = "The base's picture. The trained one lies over it after the first check."
    elif view.state.is_active:
        words = "Base and trained picture will lie here, one over the other."
    else:
        words = "No trained picture was made before the run ended."
    if not base:
        return before_after.to_come(words)
    shown = picture(base[min(base)].path, f"Base: {view.prompt(min(base))}")
    return before_after.to_come(words, f'{shown}<span class="side left">base</span>')


def grid(view: View) -> str:
    """Prompts down, updates across, the base first. Each picture opens large."""
    if not view.previews:
        return before_after.blank_grid(4, 2)
    updates = reading.few(sorted(view.previews), MOST_COLUMNS, view.best)
    all_of_them = sheet(view, updates, f"seed {_seed(view)}")
    titles = [_column_title(view, update) for update in updates]
    return before_after.grid(all_of_them, "Prompts down, updates across; the same seeds everywhere", titles=titles)


def _name(update: int) -> str:
    return f"update {update}" if update else "base"


def _column_title(view: View, update: int) -> str:
    if update == 0:
        return "base"
    return f'{update} <span class="kept">best kept</span>' if update == view.best else str(update)
