"""The Runs page: all runs of the folder, newest first."""

from __future__ import annotations

from typing import Any

import gradio as gr

from toolkit.errors import UsageError
from toolkit.run_folder import RunFolder, all_runs
from toolkit.studio import frame, reading, runs_markup
from toolkit.studio.launching import Launcher
from toolkit.studio.markup import problem, run_url

MOST = 100
# A click on a card's Resume becomes the list's own event, with the run's name.
ON_CLICK = """element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-resume]');
  if (button && !button.disabled) { button.disabled = true; trigger('click', {run: button.dataset.resume}); }
});"""


class RunsPage:
    """Draws the list and keeps it fresh."""

    def __init__(self, pages: gr.Blocks, launcher: Launcher) -> None:
        """launcher: resumes."""
        self._launcher = launcher
        self._cards: dict[str, tuple[tuple[object, ...], str]] = {}
        frame.rail("Runs")
        frame.html("<h1>Runs</h1>")
        trouble = frame.html("", elem_classes="trouble")
        listing = frame.html(runs_markup.loading(), js_on_load=ON_CLICK, elem_id="runs")
        target = gr.Textbox(visible=False)
        drawn = gr.State(0)
        timer = gr.Timer(frame.TICK_SECONDS)
        timer.tick(self.refresh, [drawn], [listing, drawn], **frame.QUIET)
        pages.load(self.load, None, [listing, drawn], **frame.QUIET)
        resumed = listing.click(self.resume, None, [trouble, target], **frame.QUIET)
        resumed.then(None, [target], None, js=frame.GO_TO)

    def load(self) -> tuple[str, int]:
        """The whole list."""
        cards = [self._card(run) for run in all_runs(self._launcher.root)[:MOST]]
        content = runs_markup.listing(cards) if cards else runs_markup.empty()
        return content, hash(content)

    def _card(self, run: RunFolder) -> str:
        """A run's card, drawn again only when its files changed or time alone may change it."""
        stamp = reading.signature(run)
        if run.name not in self._cards or self._cards[run.name][0] != stamp or reading.is_busy(run):
            self._cards[run.name] = (stamp, runs_markup.card(reading.view(run)))
        return self._cards[run.name][1]

    def refresh(self, drawn: int) -> Any:
        """The list when it looks different."""
        content, now = self.load()
        return gr.skip() if now == drawn else (content, now)

    def resume(self, event: gr.EventData) -> tuple[str, str]:
        """Resume the run whose button was pressed, and go to its page."""
        name = str(getattr(event, "run", ""))
        try:
            self._launcher.resume(name)
        except UsageError as error:
            return problem(error), ""
        return "", run_url(name)
