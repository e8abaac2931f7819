"""Small pieces of HTML: everything that comes from a file or a person passes `text` on its way to the page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from toolkit.errors import PalateError
from toolkit.words import WordPair

# Gradio's HTML component treats these as its template language.
_TEMPLATE_SIGNS = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})


def text(content: object) -> str:
    """Plain text made safe inside elements and quoted attributes."""
    return html.escape(str(content), quote=True).translate(_TEMPLATE_SIGNS)


def prose(sentence: object) -> str:
    """A sentence made safe, with `names in backticks` set as code."""
    return re.sub("&#96;([^&]+?)&#96;", r"<code>\1</code>", text(sentence))


@cache
def asset(name: str) -> str:
    """A text file that lies beside this module."""
    return (files("toolkit.studio") / name).read_text(encoding="utf-8")


def file_url(path: Path) -> str:
    """Where the page finds a file of the runs folder; the change time keeps browsers from showing an older one."""
    try:
        changed = path.stat().st_mtime_ns // 1_000_000
    except OSError:
        changed = 0
    return f"./gradio_api/file={quote(path.as_posix())}?v={changed}"


def run_url(name: str) -> str:
    """The page of one run."""
    return f"./run?run={quote(name)}"


def notice(tone: str, sentence: str, details: str = "") -> str:
    """A sentence with a state: tone is good, watch, bad or quiet. `details` are folded."""
    folded = f"<details><summary>Details</summary><pre>{text(details)}</pre></details>" if details else ""
    role = ' role="alert"' if tone == "bad" else ""
    return f'<div class="notice {tone}"{role}>{sign(tone)}<div><p>{prose(sentence)}</p>{folded}</div></div>'


def problem(error: PalateError) -> str:
    """An expected failure: what happened first, then cause and action."""
    rest = " ".join(part for part in (error.cause, error.action) if part)
    more = f'<p class="quiet">{prose(rest)}</p>' if rest else ""
    return f'<div class="notice bad" role="alert">{sign("bad")}<div><p>{prose(error.what)}</p>{more}</div></div>'


SIGNS = {"good": "✓", "watch": "▲", "bad": "✕", "quiet": "·"}


def sign(tone: str) -> str:
    """The shape that goes with a state's colour."""
    return f'<span class="sign {tone}" aria-hidden="true">{SIGNS.get(tone, "·")}</span>'


def word_chips(words: Iterable[WordPair]) -> str:
    """Each pair as a filled and an outlined chip."""
    return "".join(
        f'<span class="pair"><span class="chip more">{text(pair.positive)}</span>'
        f'<span class="quiet"> over </span><span class="chip less">{text(pair.negative)}</span></span>'
        for pair in words
    )


def picture(path: Path, alt: str) -> str:
    """One picture, loaded when it comes near the screen."""
    return f'<img src="{file_url(path)}" alt="{text(alt)}" loading="lazy" decoding="async">'


def number(value: float | None, digits: int = 2) -> str:
    """A number for people; an en dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def copyable(title: str, content: str) -> str:
    """Text with a copy button."""
    return (
        f'<div class="copyable"><p><b>{text(title)}</b> '
        '<button type="button" class="button small" data-copy>Copy</button></p>'
        f'<pre tabindex="0" aria-label="{text(title)}">{text(content)}</pre></div>'
    )


def cut_in_the_middle(path: str, most: int = 60) -> str:
    """A long path with its two ends."""
    return path if len(path) <= most else f"{path[: most // 2 - 1]}…{path[-most // 2 :]}"
