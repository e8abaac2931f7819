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
from toolkit.studio.run_markup import STATUS, status_chip
from toolkit.studio.speech import paragraph, say, told

FILTERED = (RUNNING, QUEUED, PAUSED, DONE, STOPPED, INTERRUPTED, FAILED, CANCELLED)
_BLANK = '<span class="ghost picture"></span>'
GHOST = (
    f'<li class="run-card"><span class="thumbs">{_BLANK}{_BLANK}</span><div class="run-facts">'
    '<p><span class="ghost line"></span></p><p><span class="ghost line long"></span></p></div></li>'
)


def filters() -> list[tuple[str, str]]:
    """(label, value) of the states that can be asked for."""
    return [(say("Every state"), ""), *((say(STATUS[state][1]), state) for state in FILTERED)]


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
    sentence = told(view.sentence)
    if entry and place and view.state.status == QUEUED:
        sentence = _waits(entry, place)
    buttons = _buttons(view, entry, place) if actions else f'<a class="button small" href="{url}">{say("Open")}</a>'
    return (
        f'<li class="run-card"><a class="thumbs" href="{url}" tabindex="-1" aria-hidden="true">'
        f'{_thumbs(view, place)}</a><div class="run-facts"><p class="run-name"><a href="{url}" data-key="open-{name}">'
        f"{name}</a>{status_chip(view, entry)}{where}{steps}</p>"
        f'<p class="made-of">{words}<span class="quiet">{text(facts)}</span></p>'
        f'<p class="quiet">{prose(sentence)}</p></div><div class="run-actions">{buttons}</div></li>'
    )


def _waits(entry: Entry, place: int) -> str:
    if place <= 2:
        parts = [say("Next in line.") if place == 1 else say("One run goes before it.")]
    else:
        parts = [say("{count} runs go before it.", count=place - 1)]
    if entry.gpus > 1:
        parts.append(say("Takes {count} GPUs.", count=entry.gpus))
    if entry.priority:
        parts.append(say("Priority {priority}.", priority=entry.priority))
    return paragraph(*parts)


def _buttons(view: View, entry: Entry | None, place: int) -> str:
    """What can be done now. `place` 0: it does not wait."""
    name, state = view.title, entry.state if entry else ""
    if state in AT_WORK and not view.state.is_active:  # it ended just now
        state = ""
    buttons = []
    if state in WAITING and place:
        buttons += [_button("up", name, "↑", say("Earlier"), off=place == 1), _button("down", name, "↓", say("Later"))]
    if state == PAUSED or (state not in (*WAITING, *AT_WORK) and view.can_resume):
        buttons.append(_button("resume", name, say("Resume")))
    if state in (QUEUED, *AT_WORK):
        buttons.append(_button("pause", name, say("Pause"), off=bool(entry and entry.wish)))
    if state in AT_WORK:
        buttons.append(_sure(view))
    elif state in WAITING:
        buttons.append(_button("cancel", name, say("Cancel")))
    if view.recipe is not None:
        buttons.append(_button("duplicate", name, say("Duplicate")))
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
    if kept:
        stays = say("Saved up to update {update}; Resume can go on later.", update=kept[-1])
    else:
        stays = say("Nothing is saved yet.")
    key, label = text(f"sure-{view.title}"), text(f"{say('Cancel')}: {view.title}")
    return (
        f'<details class="sure" data-key="{key}"><summary class="button small" aria-label="{label}" '
        f'data-key="{key}-open">{say("Cancel")}</summary><div><p>{stays}</p>'
        f"{_button('cancel', view.title, say('Cancel this run'))}</div></details>"
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
    if not known:
        return ""
    named = say(" and ").join(lanes.shown(lane) for lane in known)
    words = say("{what} is free", what=named) if len(known) == 1 else say("{what} are free", what=named)
    return f'<p class="quiet">{text(words)}</p>'


def attention(entries: Sequence[Entry], *, is_worked: bool) -> str:
    """Why the line stands still, with the page's one main action; nothing while it moves or is empty."""
    states = [entry.state for entry in entries]
    queued, paused = states.count(QUEUED), states.count(PAUSED)
    if queued and not is_worked:
        sentence = say("One run is in line, and nobody starts it.")
        if queued > 1:
            sentence = say("{count} runs are in line, and nobody starts them.", count=queued)
        act, word = "work", say("Start the queue")
    elif paused and not queued and not set(states) & set(AT_WORK):
        sentence = say("One run is paused.") if paused == 1 else say("{count} runs are paused.", count=paused)
        act, word = "resume_all", say("Resume all") if paused > 1 else say("Resume")
    else:
        return ""
    asked = f'data-act="{act}" data-run="" data-key="{act}"'
    button = f'<button type="button" class="button primary" {asked}>{word}</button>'
    return f'<div class="notice watch attention">{sign("watch")}<div><p>{sentence}</p></div>{button}</div>'


def more(left: int, step: int) -> str:
    """The way to older runs."""
    if left <= 0:
        return ""
    return (
        f'<p class="more"><button type="button" class="button" data-act="more" data-run="" data-key="more">'
        f"{say('Show {count} more', count=min(left, step))}</button> "
        f'<span class="quiet">{say("{count} not shown", count=left)}</span></p>'
    )


def nothing_found() -> str:
    """No run fits what was asked for."""
    return f'<p class="lead">{say("No run fits. Search by name, word, base or method.")}</p>'


def loading() -> str:
    """The list before it is read."""
    return f'<ul class="runs faint" aria-hidden="true">{GHOST * 3}</ul>'


def empty() -> str:
    """What the list will hold, and the one thing to do."""
    about = say("No runs yet. Each will be here with its before and after, also after a restart.")
    return (
        f'<p class="lead">{about}</p><p><a class="button primary" href="./">{say("Teach a taste")}</a></p>'
        f'<ul class="runs faint" aria-hidden="true">{GHOST * 2}</ul>'
    )
