"""What a recipe needs and what a folder holds, as HTML: the sentence first, numbers second, phases folded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from toolkit import pairs
from toolkit import plan as plans
from toolkit.pairs import SHOWN, Findings
from toolkit.plan import gigabytes
from toolkit.studio.markup import duration, notice, prose, sign, text
from toolkit.studio.speech import phrase, say, told

HOURS = 36  # from here on a time is told in days
FORMS = {
    "pairs": phrase("A folder with `chosen` and `rejected` beside each other, or a .jsonl or .parquet file"),
    "likes": phrase("A folder with `liked` and `disliked`, or a .jsonl file"),
    "photos": phrase("A folder of pictures, each with a .txt of the same name beside it, or a .jsonl file"),
}
KINDS = {"pairs": phrase("pairs"), "likes": phrase("likes"), "photos": phrase("photos")}


def plan(found: Mapping[str, Any], *, is_searching: bool = False) -> str:
    """The plan; is_searching: settings that make it fit are being looked for."""
    fits = found["device"]["fits"]
    tone = {True: "good", False: "watch", None: "quiet"}[fits]
    searching = f'<p class="quiet">{say("Looking for settings that make it fit. You can go on meanwhile.")}</p>'
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(found))
    sentence = notice(tone, _sentence(found, is_searching=is_searching))
    return (
        f'<div class="planned">{sentence}{searching if is_searching else ""}'
        f'<dl class="plan-facts">{facts}</dl>{_fit(found["fit"])}{_phases(found["phases"])}</div>'
    )


def _sentence(found: Mapping[str, Any], *, is_searching: bool) -> str:
    """The plan in one line; is_searching leaves open what makes it fit."""
    changes = ["…"] if is_searching else [told(name) for name in (found["fit"] or {}).get("changes", ())]
    phases = {told(name): size for name, size in found["phases"].items()}
    sentence = plans.sentence({**found, "phases": phases, "fit": {"changes": changes} if changes else None})
    return told(sentence.partition("; with")[0] + "." if is_searching else sentence)


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    seconds, disk = found["time"], found["disk"]
    weights = say(" and {size} of weights", size=gigabytes(disk["weights"])) if disk["weights"] else ""
    basis = text(say("An estimate: counted operations over the rate of {basis}.", basis=told(seconds["basis"])))
    about = {key: say("about {time}", time=_time(seconds[key])) for key in ("seconds", "seconds_per_update")}
    free = say("{run}{weights}, {free} free", run=gigabytes(disk["run"]), weights=weights, free=gigabytes(disk["free"]))
    return [
        (say("Memory"), text(gigabytes(found["needed_bytes"]))),
        (say("Time"), f'<span title="{basis}">{about["seconds"]}</span>'),
        (say("An update"), f'<span title="{basis}">{about["seconds_per_update"]}</span>'),
        (say("Disk"), text(free)),
    ]


def _time(seconds: float) -> str:
    if seconds < HOURS * 3600:
        return duration(seconds)
    return say("{count} days", count=f"{seconds / 86400:.0f}")


def _fit(fit: Mapping[str, Any] | None) -> str:
    if not fit:
        return ""
    rows = "".join(f"<li><code>{text(key)}: {text(json.dumps(v))}</code></li>" for key, v in fit["settings"].items())
    size = gigabytes(fit["needed_bytes"])
    need = say("With these it needs about {size}, in the order of least harm:", size=size)
    return f'<div class="fit"><p>{text(need)}</p><ul class="plain">{rows}</ul></div>'


def _phases(phases: Mapping[str, float]) -> str:
    peak = max(phases.values())
    rows = "".join(
        f'<li><span>{name}</span><progress max="{peak:.0f}" value="{size:.0f}" aria-label="{name}">'
        f'</progress><span class="value">{text(gigabytes(size))}</span></li>'
        for name, size in ((text(told(name)), size) for name, size in phases.items())
    )
    title = say("Memory by phase")
    return f'<details data-key="phases"><summary>{title}</summary><ul class="phases">{rows}</ul></details>'


def working() -> str:
    """While it is worked out."""
    words = say("Working out memory, time and disk, without weights. You can start meanwhile.")
    return f'<div class="planned"><p class="quiet">{words}</p><span class="ghost long"></span></div>'


def not_yet() -> str:
    """While the recipe is not right."""
    return f'<p class="quiet">{say("What it needs is worked out as soon as the recipe is right.")}</p>'


def no_such_card(least: float) -> str:
    """A size that no card has."""
    return notice(
        "watch", say("A card has {size} GB or more. Leave the box empty for this machine.", size=f"{least:g}")
    )


def no_folder(taste: str) -> str:
    """Before a folder is given."""
    where = say("{form}, on the computer that runs the Studio (docs/data.md).", form=say(FORMS[taste]))
    return f'<p class="quiet">{prose(where)}</p>'


def reading() -> str:
    """While the pictures are looked at."""
    return f'<p class="quiet">{say("Looking at every picture …")}</p>'


def holds(found: Findings, taste: str) -> str:
    """How many entries are kept, and why others are not."""
    lost = sum(map(len, found.dropped.values()))
    numbers = {"kept": f"<b>{len(found.kept)}</b>", "lost": f"<b>{lost}</b>"}
    counts = say("{kept} {kind} kept, {lost} dropped.", kind=say(KINDS[taste]), **numbers)
    rows = "".join(
        f'<li>{text(told(reason))}{say(": ")}{len(places)} <span class="quiet">({text(", ".join(places[:SHOWN]))}'
        f"{' …' * (len(places) > SHOWN)})</span> {prose(told(pairs.ADVICE.get(reason, '')))}</li>"
        for reason, places in found.dropped.items()
    )
    tone = "watch" if lost else "good"
    reasons = f'<ul class="plain">{rows}</ul>' if rows else ""
    return f'<div class="notice {tone}" role="status">{sign(tone)}<div><p>{counts}</p>{reasons}</div></div>'
