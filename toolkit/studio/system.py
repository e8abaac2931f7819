"""The System page: what this computer brings, what is missing, and a text to hand to whoever helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from toolkit import system
from toolkit.studio import frame, system_markup
from toolkit.studio.markup import copyable
from toolkit.system import CheckUps

FOLDED = ("Versions", "Folders", "Environment", "Diagnostics")


class SystemPage:
    """Draws the page once; quick facts come with each load, slow ones when the check-up is through."""

    def __init__(self, pages: gr.Blocks, root: Path, check_ups: CheckUps) -> None:
        """root: the folder of all runs."""
        self._root, self._check_ups = root, check_ups
        frame.rail("System")
        frame.html("<h1>System</h1>")
        parts = [frame.html(system_markup.verdict(None), elem_id="verdict")]
        parts.append(frame.html("", elem_id="resources"))
        with gr.Column(elem_classes="card"):
            frame.html("<h2>Check-up</h2>")
            parts.append(frame.html(system_markup.findings(None), elem_id="findings"))
            with gr.Row(elem_classes="actions"):
                frame.html('<p class="quiet">The same as <code>palate doctor</code>.</p>')
                again = gr.Button("Check again", variant="primary", elem_id="again", scale=0, min_width=160)
        for title in FOLDED:
            with gr.Accordion(title, open=title == "Diagnostics", elem_classes="fold"):
                parts.append(frame.html("", elem_id=title.lower()))
        timer = gr.Timer(frame.TICK_SECONDS)
        outputs = [*parts, again, timer]
        pages.load(self.show, None, outputs, **frame.QUIET)
        timer.tick(self.show, None, outputs, **frame.QUIET)
        again.click(self.again, None, outputs, **frame.QUIET)

    def show(self) -> list[Any]:
        """Every part; the timer goes on while a check-up is being made."""
        latest = self._check_ups.glance()
        places = system.places(self._root, latest.used if latest else None)
        is_running = self._check_ups.is_running
        return [
            system_markup.verdict(latest),
            system_markup.resources(system.memory(), places, latest),
            system_markup.findings(latest),
            system_markup.versions(system.versions()),
            system_markup.folders(places),
            system_markup.variables(system.environment()),
            copyable("Without secrets, to hand on", system.diagnostics(self._root, latest)),
            gr.update(interactive=not is_running, value="Checking …" if is_running else "Check again"),
            gr.Timer(active=is_running),
        ]

    def again(self) -> list[Any]:
        """Begin another check-up."""
        self._check_ups.again()
        return self.show()
