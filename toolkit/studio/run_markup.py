"""One run drawn as HTML: status, numbers, guards, plots, log, files. Purely from a View; pictures: run_pictures.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit import launch
from toolkit.queue_reconciling import STARTING
from toolkit.queue_store import Entry
from toolkit.run_folder import (
    CANCELLED,
    DONE,
    FAILED,
    INTERRUPTED,
    PAUSED,
    QUEUED,
    RUNNING,
    SAMPLE,
    SAVE,
    STOPPED,
)  # fmt: skip
from toolkit.studio import reading, recipe_form
from toolkit.studio.markup import (
    copyable,
    cut_in_the_middle,
    duration,
    file_url,
    notice,
    number,
    prose,
    text,
    word_chips,
)  # fmt: skip
from toolkit.studio.reading import View
from toolkit.studio.run_guards import guards
from toolkit.studio.speech import phrase, say, told

# status → (shape, word, tone)
STATUS: Mapping[str, tuple[str, str, str]] = {
    QUEUED: ("◌", phrase("queued"), "quiet"),
    RUNNING: ("●", phrase("running"), "accent"),
    DONE: ("✓", phrase("done"), "good"),
    STOPPED: ("■", phrase("stopped"), "quiet"),
    INTERRUPTED: ("!", phrase("interrupted"), "watch"),
    FAILED: ("✕", phrase("failed"), "bad"),
    PAUSED: ("‖", phrase("paused"), "quiet"),
    CANCELLED: ("⊘", phrase("cancelled"), "quiet"),
    STARTING: ("◌", phrase("starting"), "accent"),
}
ENDING = {PAUSED: phrase("pausing"), CANCELLED: phrase("cancelling")}


@dataclass(frozen=True)
class Measure:
    """A value of a check: what it is called, how it is made, what healthy looks like, and how it is written."""

    key: str
    label: str
    meaning: str
    percent: bool = False
    relative: bool = False  # shown as a share of the base's
    everywhere: bool = True  # or of some runs alone


MEASURES = (
    Measure(
        "reward", phrase("Taste"),
        phrase("The trained reward, positive minus negative word, on validation prompts. Rises."),
    ),
    Measure(
        "second", phrase("Second reward"),
        phrase("A scorer that is not trained on. Healthy: it rises along with the taste."),
    ),
    Measure(
        "recall", phrase("Still the subject"),
        phrase("How often the subject is found among the first five. Healthy: like the base."), percent=True,
    ),
    Measure(
        "diversity", phrase("Diversity"),
        phrase("How different the pictures are, beside the base. Healthy: above 88 %."), percent=True, relative=True,
    ),
    Measure(
        "held_out_accuracy", phrase("Held-out pairs"),
        phrase("Pairs never trained on that are told apart rightly. Healthy: rises from 50 %, like the trained ones'."),
        percent=True, everywhere=False,
    ),
)  # fmt: skip
Values = Mapping[str, float | None]
WISHED = {SAMPLE: phrase("pictures"), SAVE: phrase("a checkpoint that is kept")}


def status_chip(view: View, entry: Entry | None = None) -> str:
    """The status as shape and word. entry: the run's place in the queue, if it has one."""
    status = STARTING if view.state.status == QUEUED and view.state.pid else view.state.status
    shape, word, tone = STATUS.get(status, ("·", status, "quiet"))
    if view.state.is_active and entry and entry.wish in ENDING:
        shape, word, tone = "◐", ENDING[entry.wish], "watch"
    elif view.state.is_active and view.run.stop_file.exists():
        shape, word, tone = "◐", phrase("stopping"), "watch"
    return f'<span class="status {tone}"><span aria-hidden="true">{shape}</span> {text(say(word))}</span>'


def head(view: View) -> str:
    """Name, what it is made of, status and how far it is."""
    recipe = view.recipe
    made_of = ""
    if recipe is not None:
        facts = f"{recipe_form.label('bases', recipe.base.name)} · {recipe_form.label('methods', recipe.method.name)}"
        made_of = f'<p class="made-of">{word_chips(recipe.words)}<span class="quiet">{text(facts)}</span></p>'
    steps = f'<span class="steps"><b>{view.update}</b> / {view.updates}</span>' if view.updates else ""
    title = f"{view.update}/{view.updates} {view.title}" if view.state.is_active else view.title
    return (
        f'<header class="run-head" data-title="{text(title)}"><div class="run-title"><h1>{text(view.title)}</h1>'
        f'<p class="run-state">{status_chip(view)}{steps}</p></div>{made_of}{_progress(view)}{_sentence(view)}</header>'
    )


def _progress(view: View) -> str:
    if not view.state.is_active:
        return ""
    left = view.seconds_left
    ending = say("about {time} left", time=duration(left)) if left is not None else say("estimating the time")
    label = say("{done} of {all} updates", done=view.update, all=view.updates)
    return (
        f'<p class="progress-line"><progress max="{max(1, view.updates)}" value="{view.update}" '
        f'aria-label="{label}"></progress><span class="quiet">{ending}</span></p>'
    )


def _sentence(view: View) -> str:
    if view.trouble:
        return notice("bad", say("This run's recipe cannot be read."), told(view.trouble))
    sentence = told(view.sentence)
    if view.state.status == FAILED:
        return notice("bad", sentence, reading.log_tail(view.run))
    if view.state.status == INTERRUPTED:
        return notice("watch", sentence)
    tone = "watch" if view.verdict and view.verdict.get("alarms") else "quiet"
    return notice(tone, sentence) if tone == "watch" else f'<p class="verdict">{prose(sentence)}</p>'


def numbers(view: View) -> str:
    """From → to of what matters, then the guards as sentences."""
    if not view.checks:
        blocks = "".join(
            f'<div class="number"><dt>{say(m.label)}</dt><dd><span class="ghost"></span></dd></div>'
            for m in MEASURES
            if m.everywhere
        )
        when = say("Measured as soon as the base's pictures are drawn.")
        return f'<dl class="numbers">{blocks}</dl><p class="quiet">{when}</p>'
    base, shown = view.checks[0]["values"], view.shown_check
    rows = "".join(_number(measure, base, shown["values"] if shown else None) for measure in MEASURES)
    where = say("Base → update {update}", update=shown["update"]) if shown else say("The base, before training")
    where += f" · {say('not kept')}" if view.kept_base and shown else ""
    return f'<p class="over-numbers quiet">{where}</p><dl class="numbers">{rows}</dl>{guards(view)}'


def _number(measure: Measure, base: Values, now: Values | None) -> str:
    before = base.get(measure.key)
    if before is None:
        return ""
    after = now.get(measure.key) if now is not None else None
    if measure.relative and before:
        before, after = 1.0, after / before if after is not None else None
    arrow = ""
    if after is not None:
        change = after - before
        arrow = "→" if abs(change) < 0.005 else ("↗" if change > 0 else "↘")
    said = _written(before, measure) if after is None else f"{_written(before, measure)} → {_written(after, measure)}"
    if measure.relative:
        said = say("{share} of base", share=_written(after if after is not None else before, measure))
    return (
        f'<div class="number" title="{text(say(measure.meaning))}"><dt>{say(measure.label)}</dt>'
        f'<dd><span class="arrow" aria-hidden="true">{arrow}</span>{said}</dd></div>'
    )


def _written(value: float, measure: Measure) -> str:
    return f"{100 * value:.0f} %" if measure.percent else number(value)


def asked(view: View) -> str:
    """What was asked of the run and comes after its current update."""
    pending = [say(WISHED[wish]) for wish, file in view.run.wishes.items() if file.exists()]
    if not pending or not view.state.is_active:
        return ""
    return notice("quiet", say("After this update: {what}.", what=say(" and ").join(pending)))


def log(view: View) -> str:
    """The end of the log, and what a report of a problem needs."""
    tail = reading.log_tail(view.run)
    printed = text(tail) or say("Nothing printed yet.")
    shown = f'<pre class="log" tabindex="0" aria-label="{say("Log")}">{printed}</pre>'
    return shown + copyable(say("Diagnostics"), reading.diagnostics(view))


def found(lines: Sequence[str]) -> str:
    """What a search of the log brought to light."""
    if not lines:
        return f'<p class="quiet">{say("No line of the log contains this.")}</p>'
    count = say("1 line") if len(lines) == 1 else say("{count} lines", count=len(lines))
    listed = f'<pre tabindex="0" aria-label="{say("Lines found")}">{text(chr(10).join(lines))}</pre>'
    return f'<p class="quiet">{count}</p>{listed}'


def download(view: View) -> str:
    """The finished LoRA as the page's main action, or nothing; one that changes nothing is offered quietly."""
    kind, about = ("button", say("changes nothing: the base was kept")) if view.kept_base else ("button primary", "")
    loras = list(zip(view.lora_files, view.lora_readers, strict=False))
    links = []
    for path, program in loras:
        link = say("Download LoRA for {program}", program=told(program)) if len(loras) > 1 else say("Download LoRA")
        facts = about or f"{path.name} · {path.stat().st_size / 1e6:.1f} MB"
        links.append(
            f'<a class="{kind}" href="{file_url(path)}" download="{text(path.name)}">{link}</a>'
            f'<span class="quiet">{text(facts)}</span>'
        )
        kind = "button"  # one main action a page
    return "".join(links)


def files(view: View) -> str:
    """Everything of the run that can be taken along."""
    run = view.run
    named = [
        *(
            (path, say("the LoRA, for {program}", program=told(whose)))
            for path, whose in zip(view.lora_files, view.lora_readers, strict=False)
        ),
        (run.recipe_file, say("the recipe")),
        (run.events_file, say("all numbers, one JSON object a line")),
        (run.environment_file, say("versions and device")),
        (run.log_file, say("the whole log")),
    ]
    rows = "".join(
        f'<li><a href="{file_url(path)}" download="{text(path.name)}">{text(path.name)}</a> '
        f'<span class="quiet">{text(about)}</span></li>'
        for path, about in named
        if path.is_file()
    )
    place = cut_in_the_middle(str(run.path))
    where = f'<p class="quiet">{say("In")} <code title="{text(run.path)}">{text(place)}</code></p>'
    return f'<ul class="files">{rows}</ul>{where}'


def repeat(view: View) -> str:
    """The exact command line and the recipe, to copy."""
    content = (
        view.run.recipe_file.read_text(encoding="utf-8", errors="replace") if view.run.recipe_file.exists() else ""
    )
    return (
        f'<p class="quiet">{say("The same recipe and seed give the same LoRA.")} '
        f'<a href="./?from={text(view.title)}">{say("Start from these settings")}</a></p>'
        + copyable(say("Command"), launch.shown(launch.command(view.run)))
        + copyable(say("Recipe"), content)
    )


def spoken(view: View) -> str:
    """What a screen reader is told, by the page's script: a check or a new status, not every tick."""
    said = f"{view.title}: {say(STATUS.get(view.state.status, ('', view.state.status, ''))[1])}"
    if view.checks:
        at = view.checks[-1]["update"]
        said += say(", checked at update {update} of {updates}", update=at, updates=view.updates)
    return f'<span hidden data-spoken="{text(said + say("."))}"></span>'
