"""What every page has: the rail with mark and name, and the page's own events, which stay off the public API."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from toolkit.studio.markup import asset, text

TICK_SECONDS = 2.0
PAGES = (
    ("Start", "./"), ("Words", "./words"), ("Runs", "./runs"), ("Compare", "./compare"), ("System", "./system"),
)  # fmt: skip

html = partial(gr.HTML, apply_default_css=False, js_on_load=None)
# Every event answers within milliseconds, unseen and off the public API. None waits in Gradio's queue, so no page holds
# a stream open and leaving one interrupts nothing.
QUIET: dict[str, Any] = {
    "queue": False, "show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None,
}  # fmt: skip
GO_TO = "(url) => { if (url) window.location.assign(url); }"
RUN_IN_URL = "new URLSearchParams(window.location.search).get('run') || ''"


def rail(here: str) -> None:
    """Mark, name and pages; at phone width a bar at the bottom."""
    gr.Navbar(visible=False)
    links = "".join(_link(name, url, is_here=name == here) for name, url in PAGES)
    html(
        f'<a class="skip" href="#content">Skip to content</a><nav class="rail" aria-label="Pages">'
        f'<a class="brand" href="./">{asset("mark.svg")}<b>Palate</b></a>{links}</nav>'
        '<p class="unseen" role="status" aria-live="polite" id="spoken"></p><div id="content" tabindex="-1"></div>',
        elem_classes="rail-holder",
    )


def _link(name: str, url: str, *, is_here: bool) -> str:
    here = ' aria-current="page"' if is_here else ""
    return f'<a href="{url}"{here}>{icon(name)}<span>{text(name)}</span></a>'


def icon(name: str) -> str:
    """A page's sign in the rail."""
    shapes = {
        "Start": '<path d="M10 4v12M4 10h12"/>',
        "Words": '<path d="M3 6h8v5H7l-3 3v-3H3zM13 9h4v5h-1v2l-2-2h-4"/>',
        "Compare": '<path d="M10 3v14M4 6h3v8H4zM13 6h3v8h-3z"/>',
        "Runs": '<path d="M4 5h12M4 10h12M4 15h7"/>',
        "System": '<path d="M3 5h14v9H3zM7 17h6M10 14v3"/>',
    }
    return f'<svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">{shapes[name]}</svg>'
