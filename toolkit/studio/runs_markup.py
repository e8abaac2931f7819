"""The list of runs as HTML: who is at work, who waits in which order, and what there was before."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit import lanes
from toolkit.queue_reconciling import AT_WORK, WAITING
from toolkit.queue_store import Entry
from toolkit.run_folder import CANCELLED, DONE, FAILED, INTERRUPTED, PAUSED, QUEUED, RUNNING, STOPPED
from toolkit.studio import recipe_form
from toolkit.studio.markup import picture, prose, run_url, sign, text, word_chips
from toolkit.studio.reading import View
from toolkit.studio.run_markup import status_chip

FILTERS = [("Every state", ""), *((state.capitalize(), state) for state in (
    RUNNING, QUEUED, PAUSED, DONE, STOPPED, INTERRUPTED, FAILED, CANCELLED,
))]  # fmt: skip
_BLANK = '<span class="ghost picture"></span>'
GHOST = (
    f'<li class="run-card"><span class="thumbs">{_BLANK}{_BLANK}</span><div class="run-facts">'
    '<p><span class="ghost line"></span></p><p><span class="ghost line long"></span></p></div></li>'
)


def section(title: str, cards: Sequence[str], about: str = "") -> str:
    """Cards below each other under a heading; nothing at all without cards."""
    if not cards:
        return ""
    heading = f'<div class="runs-head"><h2>{text(title)}</h2>{about}</div>' if title else ""
    return f'{heading}<ul class="runs">{"".join(cards)}</ul>'


def card(view: View, entry: Entry | None = None, place: int = 0, *, actions: bool = True) -> str:
    """One run: before and after, name, state, its sentence, and what can be done.

    place: in the line, from 1; 0 when it does not wait.
    """
    recipe, url, name = view.recipe, run_url(view.title), text(view.title)
    facts = recipe_form.label("methods", recipe.method.name) if recipe else ""
    words = word_chips(recipe.words[:2]) if recipe else ""
    steps = f'<span class="steps">{view.update} / {view.updates}</span>' if view.updates and not place else ""
    where = "".join(f'<span class="steps">{lanes.shown(lane)}</span>' for lane in entry.lanes) if entry else ""
    sentence = _waits(entry, place) if entry and place and view.state.status == QUEUED else view.sentence
    buttons = _buttons(view, entry, place) if actions else f'<a class="button small" href="{url}">Open</a>'
    return (
        f'<li class="run-card"><a class="thumbs" href="{url}" tabindex="-1" aria-hidden="true">'
        f'{_thumbs(view, place)}</a><div class="run-facts"><p class="run-name"><a href="{url}" data-key="open-{name}">'
        f"{name}</a>{status_chip(view, entry)}{where}{steps}</p>"
        f'<p class="made-of">{words}<span class="quiet">{text(facts)}</span></p>'
        f'<p class="quiet">{prose(sentence)}</p></div><div class="run-actions">{buttons}</div></li>'
    )


def _waits(entry: Entry, place: int) -> str:
    before = {1: "Next in line.", 2: "One run goes before it."}.get(place, f"{place - 1} runs go before it.")
    gpus = f" Takes {entry.gpus} GPUs." if entry.gpus > 1 else ""
    return before + gpus + (f" Priority {entry.priority}." if entry.priority else "")


def _buttons(view: View, entry: Entry | None, place: int) -> str:
    """What can be done now. `place` 0: it does not wait."""
    name, state = view.title, entry.state if entry else ""
    if state in AT_WORK and not view.state.is_active:  # it ended just now
        state = ""
    buttons = []
    if state in WAITING and place:
        buttons += [_button("up", name, "↑", "Earlier", off=place == 1), _button("down", name, "↓", "Later")]
    if state == PAUSED or (state not in (*WAITING, *AT_WORK) and view.can_resume):
        buttons.append(_button("resume", name, "Resume"))
    if state in (QUEUED, *AT_WORK):
        buttons.append(_button("pause", name, "Pause", off=bool(entry and entry.wish)))
    if state in AT_WORK:
        buttons.append(_sure(view))
    elif state in WAITING:
        buttons.append(_button("cancel", name, "Cancel"))
    if view.recipe is not None:
        buttons.append(_button("duplicate", name, "Duplicate"))
    return "".join(buttons)


def _button(what: str, name: str, word: str, label: str = "", *, off: bool = False) -> str:
    said = text(f"{label or word}: {name}")
    sign_only = " sign-only" if label else ""
    return (
        f'<button type="button" class="button small{sign_only}" data-act="{what}" data-run="{text(name)}" '
        f'data-key="{text(f"{what}-{name}")}" aria-label="{said}"{f" title={label}" if label else ""}'
        f"{' disabled' if off else ''}>{word}</button>"
    )


def _sure(view: View) -> str:
    """Cancelling a run at work is asked twice, and says what stays."""
    kept = view.run.checkpoint_updates()
    stays = f"Saved up to update {kept[-1]}; Resume can go on later." if kept else "Nothing is saved yet."
    key, label = text(f"sure-{view.title}"), text(f"Cancel: {view.title}")
    return (
        f'<details class="sure" data-key="{key}"><summary class="button small" aria-label="{label}" '
        f'data-key="{key}-open">Cancel</summary><div><p>{stays}</p>'
        f"{_button('cancel', view.title, 'Cancel this run')}</div></details>"
    )


def _thumbs(view: View, place: int) -> str:
    base = view.previews.get(0, {})
    if not base:
        return f'<span class="ghost place">#{place}</span>' if place else _BLANK * 2
    result = view.previews.get(view.shown_update or 0, {})
    index = next((i for i in base if i in result), min(base))
    shown = picture(result[index].path, "") if view.shown_update and index in result else _BLANK
    return picture(base[index].path, "") + shown


def free(known: Sequence[str]) -> str:
    """Which lanes are free."""
    named = " and ".join(lanes.shown(lane) for lane in known)
    return f'<p class="quiet">{text(named)} {"is" if len(known) == 1 else "are"} free</p>' if known else ""


def attention(entries: Sequence[Entry], *, is_worked: bool) -> str:
    """Why the line stands still, with the page's one main action; nothing while it moves or is empty."""
    states = [entry.state for entry in entries]
    queued, paused = states.count(QUEUED), states.count(PAUSED)
    if queued and not is_worked:
        sentence, act, word = f"{_runs(queued)} in line, and nobody starts them.", "work", "Start the queue"
    elif paused and not queued and not set(states) & set(AT_WORK):
        sentence, act, word = f"{_runs(paused)} paused.", "resume_all", "Resume all" if paused > 1 else "Resume"
    else:
        return ""
    asked = f'data-act="{act}" data-run="" data-key="{act}"'
    button = f'<button type="button" class="button primary" {asked}>{word}</button>'
    return f'<div class="notice watch attention">{sign("watch")}<div><p>{sentence}</p></div>{button}</div>'


def _runs(count: int) -> str:
    return "One run is" if count == 1 else f"{count} runs are"


def more(left: int, step: int) -> str:
    """The way to older runs."""
    if left <= 0:
        return ""
    return (
        f'<p class="more"><button type="button" class="button" data-act="more" data-run="" data-key="more">'
        f'Show {min(left, step)} more</button> <span class="quiet">{left} not shown</span></p>'
    )


def nothing_found() -> str:
    """No run fits what was asked for."""
    return '<p class="lead">No run fits. Search by name, word, base or method.</p>'


def loading() -> str:
    """The list before it is read."""
    return f'<ul class="runs faint" aria-hidden="true">{GHOST * 3}</ul>'


def empty() -> str:
    """What the list will hold, and the one thing to do."""
    return (
        '<p class="lead">No runs yet. Each will be here with its before and after, also after a restart.</p>'
        '<p><a class="button primary" href="./">Teach a taste</a></p>'
        f'<ul class="runs faint" aria-hidden="true">{GHOST * 2}</ul>'
    )
