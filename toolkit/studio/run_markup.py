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
    sign,
    text,
    word_chips,
)  # fmt: skip
from toolkit.studio.reading import View

# status → (shape, word, tone)
STATUS: Mapping[str, tuple[str, str, str]] = {
    QUEUED: ("◌", "queued", "quiet"),
    RUNNING: ("●", "running", "accent"),
    DONE: ("✓", "done", "good"),
    STOPPED: ("■", "stopped", "quiet"),
    INTERRUPTED: ("!", "interrupted", "watch"),
    FAILED: ("✕", "failed", "bad"),
    PAUSED: ("‖", "paused", "quiet"),
    CANCELLED: ("⊘", "cancelled", "quiet"),
    STARTING: ("◌", "starting", "accent"),
}
ENDING = {PAUSED: "pausing", CANCELLED: "cancelling"}


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
    Measure("reward", "Taste", "The trained reward, positive minus negative word, on validation prompts. Rises."),
    Measure("second", "Second reward", "A scorer that is not trained on. Healthy: it rises along with the taste."),
    Measure(
        "recall",
        "Still the subject",
        "How often the subject is found among the first five. Healthy: like the base.",
        True,
    ),
    Measure(
        "diversity", "Diversity", "How different the pictures are, beside the base. Healthy: above 88 %.", True, True
    ),
    Measure(
        "held_out_accuracy",
        "Held-out pairs",
        "Pairs never trained on that are told apart rightly. Healthy: rises from 50 %, like the trained ones'.",
        percent=True,
        everywhere=False,
    ),
)
GUARD_LABELS = {
    "words": "words", "second": "second reward", "recall": "subject", "diversity": "diversity",
    "saturation": "colour", "brightness": "brightness", "clipped": "burnt pixels", "texture": "texture",
}  # fmt: skip
Values = Mapping[str, float | None]
WISHED = {SAMPLE: "pictures", SAVE: "a checkpoint that is kept"}
TONES = {"ok": "good", "watch": "watch", "bad": "bad"}


def status_chip(view: View, entry: Entry | None = None) -> str:
    """The status as shape and word. entry: the run's place in the queue, if it has one."""
    status = STARTING if view.state.status == QUEUED and view.state.pid else view.state.status
    shape, word, tone = STATUS.get(status, ("·", status, "quiet"))
    if view.state.is_active and entry and entry.wish in ENDING:
        shape, word, tone = "◐", ENDING[entry.wish], "watch"
    elif view.state.is_active and view.run.stop_file.exists():
        shape, word, tone = "◐", "stopping", "watch"
    return f'<span class="status {tone}"><span aria-hidden="true">{shape}</span> {text(word)}</span>'


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
    ending = f"about {duration(left)} left" if left is not None else "estimating the time"
    label = f"{view.update} of {view.updates} updates"
    return (
        f'<p class="progress-line"><progress max="{max(1, view.updates)}" value="{view.update}" '
        f'aria-label="{label}"></progress><span class="quiet">{ending}</span></p>'
    )


def _sentence(view: View) -> str:
    if view.trouble:
        return notice("bad", "This run's recipe cannot be read.", view.trouble)
    if view.state.status == FAILED:
        return notice("bad", view.sentence, reading.log_tail(view.run))
    if view.state.status == INTERRUPTED:
        return notice("watch", view.sentence)
    tone = "watch" if view.verdict and view.verdict.get("alarms") else "quiet"
    return notice(tone, view.sentence) if tone == "watch" else f'<p class="verdict">{prose(view.sentence)}</p>'


def numbers(view: View) -> str:
    """From → to of what matters, then the guards as sentences."""
    if not view.checks:
        blocks = "".join(
            f'<div class="number"><dt>{m.label}</dt><dd><span class="ghost"></span></dd></div>'
            for m in MEASURES
            if m.everywhere
        )
        return (
            f'<dl class="numbers">{blocks}</dl><p class="quiet">Measured as soon as the base\'s pictures are drawn.</p>'
        )
    base, shown = view.checks[0]["values"], view.shown_check
    rows = "".join(_number(measure, base, shown["values"] if shown else None) for measure in MEASURES)
    where = f"Base → update {shown['update']}" if shown else "The base, before training"
    where += ", not kept" if view.kept_base and shown else ""
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
    told = _written(before, measure) if after is None else f"{_written(before, measure)} → {_written(after, measure)}"
    if measure.relative:
        told = _written(after if after is not None else before, measure) + " of base"
    return (
        f'<div class="number" title="{text(measure.meaning)}"><dt>{measure.label}</dt>'
        f'<dd><span class="arrow" aria-hidden="true">{arrow}</span>{told}</dd></div>'
    )


def _written(value: float, measure: Measure) -> str:
    return f"{100 * value:.0f} %" if measure.percent else number(value)


def guards(view: View) -> str:
    """Troubled guards as a sentence each, the worst first; the quiet ones in one line. Of the numbers' own check."""
    shown = view.shown_check or view.checks[-1]
    lights = shown.get("guards") or {}
    order = {"bad": 0, "watch": 1}
    loud = sorted((name for name in lights if lights[name]["state"] in order), key=lambda n: order[lights[n]["state"]])
    fine = ", ".join(GUARD_LABELS.get(str(name), str(name)) for name in lights if name not in loud)
    rows = [_loud_guard(name, lights[name], view.checks[0]["values"], shown["values"]) for name in loud]
    if fine:
        title = "Others fine" if loud else "All guards fine"
        listed = f'<span class="quiet">: {text(fine)}</span>'
        rows.append(f"<li>{sign('good')}<span>{title}{listed}</span></li>")
    label = f"Guards at update {shown['update']}"
    return f'<ul class="guards" aria-label="{label}">{"".join(rows)}</ul>' if rows else ""


def _loud_guard(name: str, light: Mapping[str, str], base: Values, now: Values) -> str:
    measured = f'<span class="quiet">{text(_guard_number(name, base, now))}</span>'
    return f"<li>{sign(TONES[light['state']])}<span>{text(light['sentence'])} {measured}</span></li>"


def _guard_number(name: str, base: Values, now: Values) -> str:
    before, after = base.get(name), now.get(name)
    label = GUARD_LABELS.get(name, name)
    return f"{label} {number(after)}" if name == "words" else f"{label} {number(before)} → {number(after)}"


def asked(view: View) -> str:
    """What was asked of the run and comes after its current update."""
    pending = [WISHED[wish] for wish, file in view.run.wishes.items() if file.exists()]
    if not pending or not view.state.is_active:
        return ""
    return notice("quiet", f"After this update: {' and '.join(pending)}.")


def log(view: View) -> str:
    """The end of the log, and what a report of a problem needs."""
    tail = reading.log_tail(view.run)
    shown = f'<pre class="log" tabindex="0" aria-label="Log">{text(tail) or "Nothing printed yet."}</pre>'
    return shown + copyable("Diagnostics", reading.diagnostics(view))


def found(lines: Sequence[str]) -> str:
    """What a search of the log brought to light."""
    if not lines:
        return '<p class="quiet">No line of the log contains this.</p>'
    count = "1 line" if len(lines) == 1 else f"{len(lines)} lines"
    return f'<p class="quiet">{count}</p><pre tabindex="0" aria-label="Lines found">{text(chr(10).join(lines))}</pre>'


def download(view: View) -> str:
    """The finished LoRA as the page's main action, or nothing; one that changes nothing is offered quietly."""
    kind, about = ("button", "changes nothing: the base was kept") if view.kept_base else ("button primary", "")
    loras = list(zip(view.lora_files, view.lora_readers, strict=False))
    links = []
    for path, program in loras:
        whose = f" for {program}" if len(loras) > 1 else ""
        facts = about or f"{path.name} · {path.stat().st_size / 1e6:.1f} MB"
        links.append(
            f'<a class="{kind}" href="{file_url(path)}" download="{text(path.name)}">Download LoRA{whose}</a>'
            f'<span class="quiet">{text(facts)}</span>'
        )
        kind = "button"  # one main action a page
    return "".join(links)


def files(view: View) -> str:
    """Everything of the run that can be taken along."""
    run = view.run
    named = [
        *((path, f"the LoRA, for {whose}") for path, whose in zip(view.lora_files, view.lora_readers, strict=False)),
        (run.recipe_file, "the recipe"),
        (run.events_file, "all numbers, one JSON object a line"),
        (run.environment_file, "versions and device"),
        (run.log_file, "the whole log"),
    ]
    rows = "".join(
        f'<li><a href="{file_url(path)}" download="{text(path.name)}">{text(path.name)}</a> '
        f'<span class="quiet">{text(about)}</span></li>'
        for path, about in named
        if path.is_file()
    )
    place = cut_in_the_middle(str(run.path))
    return f'<ul class="files">{rows}</ul><p class="quiet">In <code title="{text(run.path)}">{text(place)}</code></p>'


def repeat(view: View) -> str:
    """The exact command line and the recipe, to copy."""
    content = (
        view.run.recipe_file.read_text(encoding="utf-8", errors="replace") if view.run.recipe_file.exists() else ""
    )
    return (
        f'<p class="quiet">The same recipe and seed give the same LoRA. '
        f'<a href="./?from={text(view.title)}">Start from these settings</a></p>'
        + copyable("Command", launch.shown(launch.command(view.run)))
        + copyable("Recipe", content)
    )


def spoken(view: View) -> str:
    """What a screen reader is told, by the page's script: a check or a new status, not every tick."""
    checked = f", checked at update {view.checks[-1]['update']} of {view.updates}" if view.checks else ""
    word = STATUS.get(view.state.status, ("", view.state.status, ""))[1]
    return f'<span hidden data-spoken="{text(f"{view.title}: {word}{checked}.")}"></span>'
