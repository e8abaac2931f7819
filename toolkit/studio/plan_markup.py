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

HOURS = 36  # from here on a time is told in days


def plan(found: Mapping[str, Any], *, is_searching: bool = False) -> str:
    """The plan; is_searching: settings that make it fit are being looked for."""
    fits = found["device"]["fits"]
    tone = {True: "good", False: "watch", None: "quiet"}[fits]
    sentence = plans.sentence(found)
    if is_searching:
        sentence = plans.sentence({**found, "fit": {"changes": ["…"]}}).partition("; with")[0] + "."
    searching = '<p class="quiet">Looking for settings that make it fit. You can go on meanwhile.</p>'
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(found))
    return (
        f'<div class="planned">{notice(tone, sentence)}{searching if is_searching else ""}'
        f'<dl class="plan-facts">{facts}</dl>{_fit(found["fit"])}{_phases(found["phases"])}</div>'
    )


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    seconds, disk = found["time"], found["disk"]
    weights = f" and {gigabytes(disk['weights'])} of weights" if disk["weights"] else ""
    basis = text(f"An estimate: counted operations over the rate of {seconds['basis']}.")
    return [
        ("Memory", text(gigabytes(found["needed_bytes"]))),
        ("Time", f'<span title="{basis}">about {_time(seconds["seconds"])}</span>'),
        ("An update", f'<span title="{basis}">about {_time(seconds["seconds_per_update"])}</span>'),
        ("Disk", text(f"{gigabytes(disk['run'])}{weights}, {gigabytes(disk['free'])} free")),
    ]


def _time(seconds: float) -> str:
    return duration(seconds) if seconds < HOURS * 3600 else f"{seconds / 86400:.0f} days"


def _fit(fit: Mapping[str, Any] | None) -> str:
    if not fit:
        return ""
    rows = "".join(f"<li><code>{text(key)}: {text(json.dumps(v))}</code></li>" for key, v in fit["settings"].items())
    need = f"With these it needs about {gigabytes(fit['needed_bytes'])}, in the order of least harm:"
    return f'<div class="fit"><p>{text(need)}</p><ul class="plain">{rows}</ul></div>'


def _phases(phases: Mapping[str, float]) -> str:
    peak = max(phases.values())
    rows = "".join(
        f'<li><span>{text(name)}</span><progress max="{peak:.0f}" value="{size:.0f}" aria-label="{text(name)}">'
        f'</progress><span class="value">{text(gigabytes(size))}</span></li>'
        for name, size in phases.items()
    )
    return f'<details data-key="phases"><summary>Memory by phase</summary><ul class="phases">{rows}</ul></details>'


def working() -> str:
    """While it is worked out."""
    return (
        '<div class="planned"><p class="quiet">Working out memory, time and disk, without weights. '
        'You can start meanwhile.</p><span class="ghost long"></span></div>'
    )


def not_yet() -> str:
    """While the recipe is not right."""
    return '<p class="quiet">What it needs is worked out as soon as the recipe is right.</p>'


def no_such_card(least: float) -> str:
    """A size that no card has."""
    return notice("watch", f"A card has {least:g} GB or more. Leave the box empty for this machine.")


def no_folder(taste: str) -> str:
    """Before a folder is given."""
    forms = {
        "pairs": "A folder with `chosen` and `rejected` beside each other, or a .jsonl or .parquet file",
        "likes": "A folder with `liked` and `disliked`, or a .jsonl file",
        "photos": "A folder of pictures, each with a .txt of the same name beside it, or a .jsonl file",
    }
    return f'<p class="quiet">{prose(forms[taste])}, on the computer that runs the Studio (docs/data.md).</p>'


def reading() -> str:
    """While the pictures are looked at."""
    return '<p class="quiet">Looking at every picture …</p>'


def holds(found: Findings, taste: str) -> str:
    """How many entries are kept, and why others are not."""
    lost = sum(map(len, found.dropped.values()))
    counts = f"<b>{len(found.kept)}</b> {text(taste)} kept, <b>{lost}</b> dropped."
    rows = "".join(
        f'<li>{text(reason)}: {len(places)} <span class="quiet">({text(", ".join(places[:SHOWN]))}'
        f"{' …' * (len(places) > SHOWN)})</span> {prose(pairs.ADVICE.get(reason, ''))}</li>"
        for reason, places in found.dropped.items()
    )
    tone = "watch" if lost else "good"
    reasons = f'<ul class="plain">{rows}</ul>' if rows else ""
    return f'<div class="notice {tone}" role="status">{sign(tone)}<div><p>{counts}</p>{reasons}</div></div>'
