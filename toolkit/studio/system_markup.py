"""The System page's drawn parts. Everything shown comes from `toolkit.system`, where secrets are masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolkit import masking
from toolkit.doctor import Finding
from toolkit.plan import gigabytes
from toolkit.studio.markup import cut_in_the_middle, prose, sign, text
from toolkit.system import CheckUp, Place, Variable

TONES = {"ok": "good", "note": "quiet", "stop": "bad"}
WORDS = {"ok": "fine", "note": "to know", "stop": "prevents training"}
GHOST = '<span class="ghost line"></span>'


def verdict(latest: CheckUp | None) -> str:
    """One sentence about the whole."""
    if latest is None:
        return '<p class="lead">Looking at this computer …</p>'
    stops = [finding for finding in latest.findings if finding.state == "stop"]
    said = f"{len(stops)} thing{'s' * (len(stops) != 1)} to mend first." if stops else "Ready to train."
    return f'<p class="lead">{said}</p>'


def findings(latest: CheckUp | None) -> str:
    """The doctor's sentences, the worst first."""
    if latest is None:
        blank = f'<li><span class="sign quiet">·</span><b>{GHOST}</b><span class="ghost line long"></span></li>'
        return f'<ul class="findings">{blank * 5}</ul>'
    order = ("stop", "note", "ok")
    ranked = sorted(latest.findings, key=lambda finding: order.index(finding.state))
    return f'<ul class="findings">{"".join(map(_finding, ranked))}</ul>'


def _finding(finding: Finding) -> str:
    tone = TONES[finding.state]
    return (
        f"<li>{sign(tone)}<b>{text(finding.about)}</b><span>{prose(masking.mask(finding.sentence))}</span>"
        f'<span class="status {tone}">{WORDS[finding.state]}</span></li>'
    )


def resources(memory: tuple[int, int], places: Sequence[Place], latest: CheckUp | None) -> str:
    """Memory, GPUs and disks as tiles."""
    available, total = memory
    tiles = [_tile("Memory", f"{gigabytes(available)} free", f"of {gigabytes(total)}", 1 - available / total)]
    if latest is None:
        tiles.append(f'<div class="resource"><dt>GPU</dt><dd>{GHOST}</dd></div>')
    elif not latest.gpus:
        tiles.append(_tile("GPU", "none", "The demo trains without one.", None))
    for gpu in latest.gpus if latest else ():
        free = "not usable" if gpu.free is None else f"{gigabytes(gpu.free)} free"
        used = None if gpu.free is None else 1 - gpu.free / gpu.memory
        tiles.append(_tile("GPU", free, f"{gpu.name}, {gigabytes(gpu.memory)}", used))
    tiles += [_tile(place.name, f"{gigabytes(place.free)} free", _used(place), None) for place in places]
    return f'<dl class="resources">{"".join(tiles)}</dl>'


def _used(place: Place) -> str:
    return "counting …" if place.used is None else f"it takes {gigabytes(place.used)}"


def _tile(name: str, value: str, beside: str, used: float | None) -> str:
    bar = "" if used is None else f'<progress max="1" value="{used:.3f}" aria-label="{text(name)} used"></progress>'
    said = f'{text(value)}{bar}<span class="quiet">{text(beside)}</span>'
    return f'<div class="resource"><dt>{text(name)}</dt><dd>{said}</dd></div>'


def folders(places: Sequence[Place]) -> str:
    """Where things lie."""
    return _table({place.name: masking.mask(str(place.path)) for place in places})


def versions(found: Mapping[str, str]) -> str:
    """What is installed."""
    return _table(found)


def variables(listed: Sequence[Variable]) -> str:
    """The environment that has an effect."""
    if not listed:
        return '<p class="quiet">No variable that Palate or its libraries heed is set.</p>'
    return _table({variable.name: variable.value for variable in listed})


def _table(rows: Mapping[str, str]) -> str:
    cells = "".join(
        f'<tr><th scope="row">{text(name)}</th>'
        f'<td title="{text(value)}"><code>{text(cut_in_the_middle(value))}</code></td></tr>'
        for name, value in rows.items()
    )
    return f'<table class="facts"><tbody>{cells}</tbody></table>'
