"""The page of one run: rebuilt from its folder at every load, refreshed by one tick, whoever started it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gradio as gr

from toolkit.errors import UsageError
from toolkit.run_folder import SAMPLE, SAVE
from toolkit.studio import before_after, frame, reading, reproduce, run_markup, run_pictures, run_plots
from toolkit.studio.launching import Launcher
from toolkit.studio.markup import notice, problem
from toolkit.studio.reading import View
from toolkit.studio.speech import paragraph, phrase, say

# Each part of the page and who draws it; a part is sent again only when it looks different.
PARTS: Mapping[str, Callable[[View], str]] = {
    "head": run_markup.head,
    "slider": run_pictures.slider,
    "numbers": run_markup.numbers,
    "asked": run_markup.asked,
    "download": run_markup.download,
    "grid": run_pictures.grid,
    "plots": run_plots.plots,
    "log": run_markup.log,
    "files": run_markup.files,
    "repeat": run_markup.repeat,
    "spoken": run_markup.spoken,
}
WISHES = {SAMPLE: phrase("Sample now"), SAVE: phrase("Save now")}
MOST_SEARCHED = 200  # characters
FOLDED = {
    "plots": phrase("Plots"), "log": phrase("Log"), "files": phrase("Files"), "repeat": phrase("Repeat this run"),
}  # fmt: skip


class RunPage:
    """Draws the page once and answers its events; which run it shows stands in the address."""

    def __init__(self, pages: gr.Blocks, launcher: Launcher) -> None:
        """launcher: stops and resumes."""
        self._pages, self._launcher = pages, launcher
        self._draw()
        self._wire()

    def _draw(self) -> None:
        frame.rail("Runs")
        parts: dict[str, gr.HTML] = {
            "head": frame.html('<header class="run-head"><h1><span class="ghost line"></span></h1></header>')
        }
        with gr.Row(elem_classes="run-body"):
            with gr.Column(scale=3, min_width=300):
                parts["slider"] = frame.html(before_after.to_come(""))
            with gr.Column(scale=2, min_width=280, elem_classes="run-side"):
                parts["numbers"] = frame.html("", elem_id="numbers")
                self.trouble = frame.html("", elem_classes="trouble")
                parts["asked"] = frame.html("", elem_id="asked")
                parts["download"] = frame.html("", elem_id="download")
                self.reproduce = reproduce.Reproduce(self._launcher.root)
                with gr.Row(elem_classes="run-buttons"):
                    self.wishes = {
                        wish: gr.Button(say(label), visible=False, elem_id=wish, scale=0, min_width=110)
                        for wish, label in WISHES.items()
                    }
                    self.stop = gr.Button(
                        say("Stop and keep best"), visible=False, elem_id="stop", scale=0, min_width=170
                    )
                    self.resume = gr.Button(
                        say("Resume"), variant="primary", visible=False, elem_id="resume", scale=0, min_width=120
                    )
                with gr.Column(visible=False, elem_classes="confirm", elem_id="confirm") as self.confirm:
                    self.question = frame.html("")
                    with gr.Row():
                        self.yes = gr.Button(
                            say("Stop now"), variant="stop", elem_id="stop-yes", scale=0, min_width=120
                        )
                        self.no = gr.Button(say("Go on"), elem_id="stop-no", scale=0, min_width=100)
        parts["grid"] = frame.html("", elem_id="grid")
        for name, title in FOLDED.items():
            with gr.Accordion(say(title), open=name == "plots", elem_classes="fold"):
                if name == "log":
                    self.search = gr.Textbox(label=say("Search the log"), placeholder="warning", elem_id="log-search")
                    self.found = frame.html("", elem_id="log-found", elem_classes="copyable")
                parts[name] = frame.html("", elem_id=name)
        parts["spoken"] = frame.html("")
        self.parts = {name: parts[name] for name in PARTS}
        self.drawn = gr.State({})  # only what was sent last; without it everything is sent again
        self.timer = gr.Timer(frame.TICK_SECONDS)

    def _wire(self) -> None:
        outputs = [
            *self.parts.values(),
            self.stop,
            *self.wishes.values(),
            self.confirm,
            self.resume,
            self.reproduce.fold,
            self.drawn,
        ]
        name = gr.Textbox(visible=False)  # filled from the address by each event's script
        by_name: dict[str, Any] = {"inputs": [name], "js": f"() => [{frame.RUN_IN_URL}]", **frame.QUIET}
        self._pages.load(self.load, outputs=outputs, **by_name)
        self.timer.tick(
            self.refresh, [name, self.drawn], outputs, js=f"(name, drawn) => [{frame.RUN_IN_URL}, drawn]", **frame.QUIET
        )
        self.stop.click(self.ask, outputs=[self.confirm, self.question], **by_name)
        self.no.click(lambda: gr.update(visible=False), None, [self.confirm], **frame.QUIET)
        self.yes.click(self.request_stop, outputs=[self.confirm, self.trouble], **by_name)
        self.resume.click(self.go_on, outputs=[self.trouble], **by_name)
        for wish, button in self.wishes.items():
            button.click(partial(self.request, wish=wish), outputs=[self.trouble], **by_name)
        self.search.change(
            self.find_in_log, [name, self.search], [self.found], trigger_mode="always_last",
            js=f"(name, wanted) => [{frame.RUN_IN_URL}, wanted]", **frame.QUIET,
        )  # fmt: skip

    def load(self, name: str) -> list[Any]:
        """Everything, for a page that shows nothing yet."""
        return self.refresh(name, {})

    def refresh(self, name: str, drawn: dict[str, Any]) -> Any:
        """The parts that look different from what the page has."""
        try:
            run = reading.find(self._launcher.root, name)
        except UsageError as error:
            to_runs = f'<a class="button primary" href="./runs">{say("All runs")}</a>'
            missing = {
                "head": f'<div class="run-missing">{problem(error)}{to_runs}</div>',
                "stop": False,
                "resume": False,
                "resume_first": False,
                "resume_word": say("Resume"),
                "reproduce": False,
            }
            return self._changed(dict.fromkeys(PARTS, "") | missing, drawn, ("missing", name))
        stamp = reading.signature(run)
        if drawn.get("stamp") == stamp and not reading.is_busy(run):
            return gr.skip()
        view = reading.view(run)
        content: dict[str, Any] = {part: draw(view) for part, draw in PARTS.items()}
        content["stop"] = view.state.is_active and bool(view.state.pid) and not run.stop_file.exists()
        content["resume"] = view.can_resume
        content["resume_first"] = not view.lora_files  # one main action a page
        content["resume_word"] = say("Start next") if view.is_waiting else say("Resume")
        content["reproduce"] = reproduce.is_possible(view)
        return self._changed(content, drawn, stamp)

    def _changed(self, content: dict[str, Any], drawn: dict[str, Any], stamp: tuple[object, ...]) -> list[Any]:
        kept = {name: hash(value) for name, value in content.items()}
        new = {name for name in content if drawn.get(name) != kept[name]}
        if new & {"resume_first", "resume_word"}:
            new.add("resume")
        html = [content[name] if name in new else gr.skip() for name in PARTS]
        stop = [gr.update(visible=content["stop"]) if "stop" in new else gr.skip()] * (1 + len(WISHES))
        confirm = gr.update(visible=False) if "stop" in new and not content["stop"] else gr.skip()
        variant = "primary" if content["resume_first"] else "secondary"
        resume: Any = gr.skip()
        if "resume" in new:
            resume = gr.update(visible=content["resume"], variant=variant, value=content["resume_word"])
        again = gr.update(visible=content["reproduce"]) if "reproduce" in new else gr.skip()
        return [*html, *stop, confirm, resume, again, {**kept, "stamp": stamp}]

    def ask(self, name: str) -> tuple[Any, str]:
        """Before stopping: what will be kept."""
        try:
            view = reading.view(reading.find(self._launcher.root, name))
        except UsageError as error:
            return gr.update(visible=True), problem(error)
        kept = view.run.checkpoint_updates()
        ends = say("The run ends at its next update, measures once more and writes its LoRA from the best checkpoint.")
        if not kept:
            return gr.update(visible=True), notice("quiet", paragraph(ends, say("Nothing is saved yet.")))
        saved = say("Saved so far: up to update {update}. Resume can go on later.", update=kept[-1])
        return gr.update(visible=True), notice("quiet", paragraph(ends, saved))

    def request_stop(self, name: str) -> tuple[Any, str]:
        """Ask the run to end."""
        try:
            self._launcher.stop(name)
        except UsageError as error:
            return gr.update(visible=False), problem(error)
        return gr.update(visible=False), ""

    def go_on(self, name: str) -> str:
        """Resume."""
        try:
            self._launcher.resume(name)
        except UsageError as error:
            return problem(error)
        return ""

    def request(self, name: str, wish: str) -> str:
        """Ask for pictures or a checkpoint."""
        try:
            self._launcher.request(name, wish)
        except UsageError as error:
            return problem(error)
        return ""

    def find_in_log(self, name: str, wanted: str) -> str:
        """The lines of the log that hold the text."""
        try:
            run = reading.find(self._launcher.root, name)
        except UsageError as error:
            return problem(error)
        return run_markup.found(reading.log_search(run, wanted[:MOST_SEARCHED])) if wanted.strip() else ""
