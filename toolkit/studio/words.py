"""The Words page: pairs that can be taught, how well a reward tells them apart, and what lies along them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from toolkit.studio import frame, tastes, words_markup
from toolkit.studio.looking import SOURCES, Looking, Wanted, rewards
from toolkit.studio.speech import say
from toolkit.words import library

# A press on a pair's button becomes the list's own event, with the pair's words.
ON_CLICK = """element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-does]');
  if (button) trigger('click', {...button.dataset});
});"""


class WordsPage:
    """Draws the page once and answers its events; holds nothing of a visitor's."""

    def __init__(self, pages: gr.Blocks, looking: Looking) -> None:
        """looking: reads and measures."""
        self._pages, self._looking = pages, looking
        self._draw()
        self._wire()

    def _draw(self) -> None:
        first = library()[0]
        frame.rail("Words")
        frame.html(
            f"<h1>{say('Words')}</h1>"
            f'<p class="lead">{say("A pair of words is a direction. See where it leads before you teach it.")}</p>'
        )
        with gr.Column(elem_classes="card"):
            with gr.Row():
                self.positive = gr.Textbox(first.positive, label=say("More like"), max_length=200, elem_id="positive")
                self.negative = gr.Textbox(first.negative, label=say("Less like"), max_length=200, elem_id="negative")
            self.reward = gr.Radio(
                rewards(), value="demo", label=say("Reward that reads them"), elem_classes="chips", elem_id="reward"
            )
            self.separation = frame.html(words_markup.separation(None, "demo"), elem_id="separation")
            self.trouble = frame.html("", elem_classes="trouble", elem_id="trouble")
            with gr.Row(elem_classes="actions"):
                self.keep = gr.Button(f"☆ {say('Keep as favourite')}", elem_id="keep", scale=0, min_width=200)
                self.teach = frame.html(words_markup.teach(first.pair()), elem_id="teach-holder")
        with gr.Column(elem_classes="card"):
            frame.html(f"<h2>{say('Pictures along this direction')}</h2>")
            self.source = gr.Radio(
                [(say(label), name) for name, label in SOURCES.items()], value="demo", label=say("Whose pictures"),
                elem_classes="chips", elem_id="source",
            )  # fmt: skip
            self.folder = gr.Textbox(
                "", label=say("Folder"), info=say("Its path in full, on the computer that runs the Studio."),
                max_length=tastes.LONGEST_PLACE, visible=False, elem_id="folder",
            )  # fmt: skip
            self.ranked = frame.html("", elem_id="ranked")
        with gr.Column(elem_classes="card"):
            frame.html(
                f"<h2>{say('Beside the other pairs')}</h2>"
                f'<p class="quiet">{say("The cosine of two directions: 1 teaches the same, −1 the opposite.")}</p>'
            )
            self.cosines = frame.html(words_markup.cosines(None, 8), elem_id="cosines")
        with gr.Column(elem_id="word-library"):
            self.library = frame.html("", js_on_load=ON_CLICK, elem_id="library-list")
            self.measure = gr.Button(say("Measure what is unmeasured"), elem_id="measure-all", scale=0, min_width=240)
        self.measure_all = gr.Checkbox(False, visible=False)
        self.timer = gr.Timer(frame.TICK_SECONDS / 2, active=False)  # only while something is being measured

    def _wire(self) -> None:
        seen = [self.separation, self.teach, self.keep, self.ranked, self.cosines, self.library, self.timer]
        wanted = [self.positive, self.negative, self.reward, self.source, self.folder, self.measure_all]
        look: dict[str, Any] = {
            "fn": self.look, "inputs": wanted, "outputs": seen, "trigger_mode": "always_last", **frame.QUIET,
        }  # fmt: skip
        pair = [self.positive, self.negative]
        self._pages.load(self.load, None, pair, **frame.QUIET).then(**look)
        for box in (*pair, self.folder):
            box.blur(**look)
            box.submit(**look)
        self.reward.input(lambda: False, None, [self.measure_all], **frame.QUIET).then(**look)
        self.source.input(
            lambda source: gr.update(visible=source == "folder"), [self.source], [self.folder], **frame.QUIET
        ).then(**look)
        self.timer.tick(**look)
        self.keep.click(self._looking.keep, pair, [self.trouble], **frame.QUIET).then(**look)
        self.measure.click(lambda: True, None, [self.measure_all], **frame.QUIET).then(**look)
        pressed = self.library.click(self.press, None, [self.trouble, *pair], **frame.QUIET)
        pressed.then(**look)

    def load(self, request: gr.Request) -> tuple[Any, Any]:
        """The pair that the address names; else as drawn."""
        named = [request.query_params.get(side, "")[:200] for side in ("positive", "negative")]
        return (named[0], named[1]) if all(named) else (gr.skip(), gr.skip())

    def look(
        self, positive: str, negative: str, reward: str, source: str, folder: str, measure_all: bool
    ) -> tuple[Any, ...]:
        """All parts for what is chosen; the timer asks again while something is to come."""
        seen = self._looking.look(Wanted(positive, negative, reward, source, folder, measure_all))
        label = f"★ {say('Remove from favourites')}" if seen.is_favourite else f"☆ {say('Keep as favourite')}"
        keep = gr.update(value=label, interactive=seen.is_favourite is not None)
        timer = gr.Timer(active=seen.is_coming)
        return seen.separation, seen.teach, keep, seen.ranked, seen.cosines, seen.library, timer

    def press(self, event: gr.EventData) -> tuple[Any, ...]:
        """A button of the list: keep its pair, or look at it."""
        positive, negative = (str(getattr(event, side, ""))[:200] for side in ("positive", "negative"))
        if getattr(event, "does", "") == "keep":
            return self._looking.keep(positive, negative), gr.skip(), gr.skip()
        return "", positive, negative
