"""The Runs page: the queue in its order, then all other runs, newest first; searched, filtered, shown in steps."""

from __future__ import annotations

from typing import Any

import gradio as gr

from toolkit.errors import UsageError
from toolkit.studio import frame, runs_markup
from toolkit.studio.launching import Launcher
from toolkit.studio.markup import problem
from toolkit.studio.runs_listing import STEP, Listing

# A click on a button in the list becomes the list's own event, with what is asked and of which run.
ON_CLICK = """element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-act]');
  if (!button || button.disabled) return;
  button.disabled = true;
  trigger('click', {act: button.dataset.act, run: button.dataset.run});
});"""
LONGEST_SEARCH = 100


class RunsPage:
    """Draws the list and keeps it fresh."""

    def __init__(self, pages: gr.Blocks, launcher: Launcher) -> None:
        """launcher: changes the queue."""
        self._launcher = launcher
        self._listing = Listing(launcher)
        frame.rail("Runs")
        frame.html("<h1>Runs</h1>")
        with gr.Row(elem_classes="runs-filter"):
            search = gr.Textbox(
                label="Search", placeholder="Name, word, base", max_length=LONGEST_SEARCH,
                elem_id="search", scale=3, min_width=200,
            )  # fmt: skip
            state = gr.Dropdown(
                runs_markup.FILTERS, value="", label="State", filterable=False, elem_id="state", scale=1, min_width=140
            )
        trouble = frame.html("", elem_classes="trouble")
        listing = frame.html(runs_markup.loading(), js_on_load=ON_CLICK, elem_id="runs")
        with gr.Accordion("Queue settings", open=False, elem_classes="fold"):
            after = gr.Checkbox(
                label="Start waiting runs when the Studio is opened again",
                info="Otherwise they are paused until you resume them. Runs at work are never touched.",
                elem_id="start-after-restart",
            )
        shown, drawn = gr.Number(STEP, visible=False), gr.State(0)
        asked: list[Any] = [search, state, shown]
        quiet: dict[str, Any] = frame.QUIET
        gr.Timer(frame.TICK_SECONDS).tick(self.refresh, [*asked, drawn], [listing, drawn], **quiet)
        pages.load(self.load, asked, [listing, drawn, after], **quiet)
        for field in (search, state):
            field.input(self.show, asked[:2], [listing, drawn, shown], trigger_mode="always_last", **quiet)
        listing.click(self.act, asked, [trouble, listing, drawn, shown], **quiet)
        after.input(launcher.start_after_restart, [after], None, **quiet)

    def load(self, search: str, state: str, shown: float) -> tuple[str, int, bool]:
        """Everything, for a page that shows nothing yet."""
        return *self.show(search, state, shown)[:2], self._launcher.queue.settings().start_after_restart

    def show(self, search: str, state: str, shown: float = STEP) -> tuple[str, int, float]:
        """The list that is asked for, its mark, and how many old runs are in it at most."""
        content = self._listing.drawn(str(search or "")[:LONGEST_SEARCH], str(state or ""), int(shown))
        return content, hash(content), shown

    def refresh(self, search: str, state: str, shown: float, drawn: int) -> Any:
        """The list when it looks different."""
        content, now, _ = self.show(search, state, shown)
        return gr.skip() if now == drawn else (content, now)

    def act(self, search: str, state: str, shown: float, event: gr.EventData) -> tuple[str, str, int, float]:
        """Do what the pressed button says, and show what came of it."""
        said = ""
        try:
            shown = self._listing.act(str(getattr(event, "act", "")), str(getattr(event, "run", "")), int(shown))
        except UsageError as error:
            said = problem(error)
        return said, *self.show(search, state, shown)
