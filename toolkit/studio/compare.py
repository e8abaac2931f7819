"""The Compare page: two sides on top of each other, all choices as a grid, and what to draw. Rebuilt from disk."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import gradio as gr

from toolkit.comparison import Request
from toolkit.comparison_folder import ComparisonFolder, Comparisons, Progress
from toolkit.errors import UsageError
from toolkit.studio import compare_markup, comparing, frame
from toolkit.studio.comparing import Fields
from toolkit.studio.markup import notice, problem

EARLIER = 12
KEEP_ADDRESS = (
    "(name) => { const url = name ? `./compare?show=${name}` : './compare';"
    " if (window.location.pathname.endsWith('/compare')) window.history.replaceState(null, '', url); }"
)
PARTS = ("standing", "slider", "grid", "along")


class ComparePage:
    """Draws the page once and answers its events; the comparison it shows stands in the address."""

    def __init__(self, pages: gr.Blocks, comparisons: Comparisons) -> None:
        """comparisons: where they are asked for."""
        self._pages, self._comparisons = pages, comparisons
        self._draw()
        self._wire()

    def _draw(self) -> None:
        frame.rail("Compare")
        frame.html("<h1>Compare</h1>")
        self.intro = frame.html(compare_markup.intro(is_empty=False))
        with gr.Row(elem_classes="sides"):
            self.left = self._side("Left", "left", comparing.BASE)
            self.swap = gr.Button("⇆ Swap", elem_id="swap", scale=0, min_width=90)
            self.right = self._side("Right", "right", None)
            self.strength = gr.Slider(
                0, 2, value=1.0, step=0.05, label="Strength", buttons=[], elem_id="strength", min_width=180
            )
        self.parts: dict[str, gr.HTML] = {"standing": frame.html("", elem_id="standing", elem_classes="trouble")}
        with gr.Row(elem_classes="run-body"):
            with gr.Column(scale=3, min_width=300):
                self.parts["slider"] = frame.html(compare_markup.slider(None), elem_id="slider")
            with gr.Column(scale=2, min_width=280, elem_classes="card"):
                self._draw_wishes()
        self.parts["grid"] = frame.html(compare_markup.grid(None), elem_id="grid")
        self.parts["along"] = frame.html("", elem_id="along", elem_classes="trouble")
        with gr.Accordion("Earlier comparisons", open=False, elem_classes="fold"):
            self.earlier = frame.html("", elem_id="earlier")
        self.show, self.drawn = gr.Textbox(visible=False), gr.State({})
        self.timer = gr.Timer(frame.TICK_SECONDS)

    def _side(self, label: str, name: str, value: str | None) -> gr.Dropdown:
        # Any text may come: what is no choice is refused in words, also in a tab that is older than the server.
        return gr.Dropdown([("Base", comparing.BASE)], value=value, label=label, allow_custom_value=True,
                           elem_id=name, min_width=180)  # fmt: skip

    def _draw_wishes(self) -> None:
        self.preset = gr.Radio(
            list(comparing.PRESETS), value=comparing.SIDES, label="What to draw", elem_classes="chips", elem_id="preset"
        )
        self.prompts = gr.Textbox(
            "", label="Prompts", info="One a line.", lines=3, max_lines=8, max_length=comparing.MOST_TEXT,
            elem_id="prompts",
        )  # fmt: skip
        self.style = gr.Textbox(
            "", label="Style word", info="Put before each prompt. For the matrix, empty: the run's own pair.",
            max_length=200, elem_id="style",
        )  # fmt: skip
        with gr.Row():
            self.seed = gr.Number(42, label="Seed", precision=0, minimum=0, elem_id="seed", min_width=90)
            self.pictures = gr.Number(1, label="Pictures each", precision=0, minimum=1, maximum=8, min_width=90)
        with gr.Accordion("All settings", open=False, elem_classes="settings"):
            with gr.Row():
                self.steps = gr.Number(20, label="Steps", precision=0, minimum=1, maximum=100, min_width=90)
                self.guidance = gr.Number(
                    None, label="Guidance", info="Empty: as the run's previews.", minimum=0, maximum=50, min_width=90
                )
            self.others = gr.Dropdown(
                [], value=[], multiselect=True, allow_custom_value=True, label="And beside them", elem_id="others"
            )
        self.trouble = frame.html("", elem_classes="trouble", elem_id="trouble")
        with gr.Row(elem_classes="actions"):
            self.stop = gr.Button("Stop", visible=False, elem_id="stop", scale=0, min_width=90)
            self.retry = gr.Button("Draw the rest", visible=False, elem_id="retry", scale=0, min_width=130)
            self.go = gr.Button("Draw", variant="primary", elem_id="draw", scale=0, min_width=120)

    def _wire(self) -> None:
        fields = [
            self.left, self.right, self.others, self.strength, self.preset, self.prompts, self.style, self.seed,
            self.pictures, self.steps, self.guidance,
        ]  # fmt: skip
        shown = [*self.parts.values(), self.stop, self.retry, self.drawn]
        self._pages.load(self.load, None, [self.intro, self.earlier, self.show, *fields, *shown], **frame.QUIET)
        for field in (self.left, self.right, self.others, self.preset):
            field.input(self.look, fields, [self.show, *shown], **frame.QUIET).then(
                None, [self.show], None, js=KEEP_ADDRESS
            )
        self.swap.click(
            lambda left, right: (right, left), [self.left, self.right], [self.left, self.right], **frame.QUIET
        ).then(self.look, fields, [self.show, *shown], **frame.QUIET).then(None, [self.show], None, js=KEEP_ADDRESS)
        asked = self.go.click(
            self.ask, fields, [self.show, self.trouble], trigger_mode="once", **frame.QUIET
        ).then(None, [self.show], None, js=KEEP_ADDRESS)  # fmt: skip
        refresh: dict[str, Any] = {
            "fn": self.refresh, "inputs": [self.show, self.drawn], "outputs": shown, **frame.QUIET,
        }  # fmt: skip
        asked.then(**refresh)
        self.timer.tick(**refresh)
        self.retry.click(self.draw_rest, [self.show], [self.trouble], **frame.QUIET).then(**refresh)
        self.stop.click(self.end, [self.show], [self.trouble], **frame.QUIET).then(**refresh)

    def load(self, request: gr.Request) -> tuple[Any, ...]:
        """Everything, for a page that shows nothing yet: of the comparison in the address, or of the newest run."""
        name, root = request.query_params.get("show", ""), self._comparisons.root
        choices = comparing.choices(root)
        try:
            fields = comparing.fields(self._comparisons.find(name).request()) if name else None
            lost = ""
        except UsageError as error:
            fields, name, lost = None, "", problem(error)
        fields = fields or comparing.first_fields(root, request.query_params.get("run", ""))
        left, right, others, *rest = astuple(fields)
        shown = self.refresh(name, {}) if name else self._glance(fields)
        if lost:
            shown[0] = lost
        intro = compare_markup.intro(is_empty=len(choices) == 1)
        sides = [gr.update(choices=choices, value=side or None) for side in (left, right)]
        return intro, self._earlier(), name, *sides, gr.update(choices=choices, value=list(others)), *rest, *shown

    def _earlier(self) -> str:
        found: list[tuple[ComparisonFolder, Request]] = []
        for folder in self._comparisons.all()[:EARLIER]:
            try:
                found.append((folder, folder.request()))
            except UsageError:
                continue  # damaged: nothing to link to
        return compare_markup.earlier(found)

    def look(self, *fields: Any) -> tuple[Any, ...]:
        """Other sides were chosen: the runs' own previews of them, where there are such."""
        return "", *self._glance(Fields(*fields))

    def _glance(self, fields: Fields) -> list[Any]:
        sheet = comparing.previews(self._comparisons.root, fields)
        parts = {"slider": compare_markup.slider(sheet), "grid": compare_markup.grid(sheet)}
        return self._changed(dict.fromkeys(PARTS, "") | parts, {}, None)

    def ask(self, *fields: Any) -> tuple[Any, str]:
        """Have it drawn."""
        try:
            wanted = comparing.wanted(self._comparisons.root, Fields(*fields))
            return self._comparisons.ask(wanted).name, ""
        except UsageError as error:
            return gr.skip(), problem(error)

    def refresh(self, name: str, drawn: dict[str, Any]) -> Any:
        """The parts that look different from what the page has."""
        if not name:
            return gr.skip()
        try:
            folder = self._comparisons.find(name)
            request = folder.request()
        except UsageError as error:
            return self._changed(dict.fromkeys(PARTS, "") | {"standing": problem(error)}, drawn, None)
        progress = self._comparisons.progress(folder)
        if not progress.is_active and drawn.get("settled") == (name, progress):
            return gr.skip()
        sheet = comparing.drawn(folder, request)
        content = {
            "standing": compare_markup.standing(progress, sheet),
            "slider": compare_markup.slider(sheet),
            "grid": compare_markup.grid(sheet),
            "along": compare_markup.take_along(folder) if not progress.is_active else "",
        }
        return self._changed(content, drawn, progress, name)

    def _changed(
        self, content: dict[str, str], drawn: dict[str, Any], progress: Progress | None, name: str = ""
    ) -> list[Any]:
        settled = (name, progress)
        buttons = (progress is not None and progress.is_active, progress is not None and progress.can_retry)
        now = {name: hash(content[name]) for name in PARTS} | {"buttons": buttons, "settled": settled}
        if now == drawn:
            return [gr.skip()] * (len(PARTS) + 3)
        html = [content[name] if drawn.get(name) != now[name] else gr.skip() for name in PARTS]
        shown = [gr.update(visible=each) if drawn.get("buttons") != buttons else gr.skip() for each in buttons]
        return [*html, *shown, now]

    def draw_rest(self, name: str) -> str:
        """Draw what is missing."""
        try:
            self._comparisons.retry(name)
        except UsageError as error:
            return problem(error)
        return ""

    def end(self, name: str) -> str:
        """Draw no further picture."""
        try:
            self._comparisons.stop(name)
        except UsageError as error:
            return problem(error)
        return notice("quiet", "It ends after the picture it is at.")
