"""A run's pictures as HTML: before and after on top of each other, and the grid of previews. Purely from a View."""

from __future__ import annotations

from toolkit.studio import reading
from toolkit.studio.markup import file_url, picture, text
from toolkit.studio.reading import View

MOST_COLUMNS = 7
GHOST = '<div class="ghost picture"></div>'
BORDER_LABEL = "Base on the left, trained on the right: move the border"


def slider(view: View) -> str:
    """Base and result of one prompt on top of each other; the page's script moves the border and changes the prompt."""
    update = view.shown_update
    base = view.previews.get(0, {})
    result = view.previews.get(update, {}) if update else {}
    indices = [index for index in base if index in result]
    if not update or not indices:
        return _slider_to_come(view)
    options = "".join(
        f'<option value="{index}" data-before="{file_url(base[index].path)}" '
        f'data-after="{file_url(result[index].path)}">{text(view.prompt(index))}</option>'
        for index in indices
    )
    kept = " · best kept" if view.best == update else " · not kept" if view.kept_base else ""
    start = indices[0]
    return (
        f'<figure class="compare" data-key="{text(view.title)}"><div class="pictures">'
        f'<img class="before" src="{file_url(base[start].path)}" alt="Base: {text(view.prompt(start))}">'
        f'<img class="after" src="{file_url(result[start].path)}" alt="Update {update}: {text(view.prompt(start))}">'
        f'<span class="side left">base</span><span class="side right">update {update}</span>'
        '<span class="border" aria-hidden="true"></span>'
        f'<input type="range" min="0" max="100" value="50" aria-label="{BORDER_LABEL}"></div>'
        f"<figcaption><label>Prompt <select>{options}</select></label>"
        f'<span class="quiet">seed {_seed(view)} · strength 1{kept}</span></figcaption></figure>'
    )


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
    shown = GHOST
    if base:
        alt = f"Base: {view.prompt(min(base))}"
        shown = f'{picture(base[min(base)].path, alt)}<span class="side left">base</span>'
    caption = f'<figcaption class="quiet">{text(words)}</figcaption>'
    return f'<figure class="compare empty"><div class="pictures">{shown}</div>{caption}</figure>'


def grid(view: View) -> str:
    """Prompts down, updates across, the base first. Each picture opens large."""
    if not view.previews:
        cells = f"<td>{GHOST}</td>" * 4
        rows = f'<tr><th scope="row"><span class="ghost line"></span></th>{cells}</tr>' * 2
        return f'<div class="scroll"><table class="grid"><tbody>{rows}</tbody></table></div>'
    updates = reading.few(sorted(view.previews), MOST_COLUMNS, view.best)
    titles = "".join(f'<th scope="col">{_column_title(view, update)}</th>' for update in updates)
    rows = []
    for index in sorted({index for row in view.previews.values() for index in row}):
        cells = "".join(_cell(view, update, index) for update in updates)
        rows.append(f'<tr><th scope="row">{text(view.prompt(index))}</th>{cells}</tr>')
    return (
        '<div class="scroll" tabindex="0" role="group" aria-label="Preview pictures"><table class="grid">'
        "<caption>Prompts down, updates across; the same seeds everywhere</caption>"
        f"<thead><tr><td></td>{titles}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _column_title(view: View, update: int) -> str:
    if update == 0:
        return "base"
    return f'{update} <span class="kept">best kept</span>' if update == view.best else str(update)


def _cell(view: View, update: int, index: int) -> str:
    preview = view.previews[update].get(index)
    if preview is None:
        return "<td></td>"
    where = "base" if update == 0 else f"update {update}"
    caption = f"{where} · seed {_seed(view)} · {view.prompt(index)}"
    shown = picture(preview.path, f"{where}: {view.prompt(index)}")
    return f'<td><button type="button" class="open" data-caption="{text(caption)}">{shown}</button></td>'
