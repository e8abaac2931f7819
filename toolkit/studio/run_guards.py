"""A run's guards drawn as HTML: the troubled ones as sentences, the quiet ones in one line. Purely from a View."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.studio.markup import number, sign, text
from toolkit.studio.reading import View
from toolkit.studio.speech import phrase, say, told

GUARD_LABELS = {
    "words": phrase("words"), "second": phrase("second reward"), "recall": phrase("subject"),
    "diversity": phrase("diversity"), "saturation": phrase("colour"), "brightness": phrase("brightness"),
    "clipped": phrase("burnt pixels"), "texture": phrase("texture"),
}  # fmt: skip
Values = Mapping[str, float | None]
TONES = {"ok": "good", "watch": "watch", "bad": "bad"}


def guards(view: View) -> str:
    """Troubled guards as a sentence each, the worst first; the quiet ones in one line. Of the numbers' own check."""
    shown = view.shown_check or view.checks[-1]
    lights = shown.get("guards") or {}
    order = {"bad": 0, "watch": 1}
    loud = sorted((name for name in lights if lights[name]["state"] in order), key=lambda n: order[lights[n]["state"]])
    fine = say(", ").join(_guard_label(str(name)) for name in lights if name not in loud)
    rows = [_loud_guard(name, lights[name], view.checks[0]["values"], shown["values"]) for name in loud]
    if fine:
        title = say("Others fine") if loud else say("All guards fine")
        listed = f'<span class="quiet">{say(": ")}{text(fine)}</span>'
        rows.append(f"<li>{sign('good')}<span>{title}{listed}</span></li>")
    label = say("Guards at update {update}", update=shown["update"])
    return f'<ul class="guards" aria-label="{label}">{"".join(rows)}</ul>' if rows else ""


def _loud_guard(name: str, light: Mapping[str, str], base: Values, now: Values) -> str:
    measured = f'<span class="quiet">{text(_guard_number(name, base, now))}</span>'
    return f"<li>{sign(TONES[light['state']])}<span>{text(told(light['sentence']))} {measured}</span></li>"


def _guard_label(name: str) -> str:
    known = GUARD_LABELS.get(name)
    return say(known) if known else name


def _guard_number(name: str, base: Values, now: Values) -> str:
    before, after = base.get(name), now.get(name)
    label = _guard_label(name)
    return f"{label} {number(after)}" if name == "words" else f"{label} {number(before)} → {number(after)}"
