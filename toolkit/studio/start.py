"""The Start page: a base, a taste, what it needs, and the recipe they make; four cards, and none has to be opened."""

from __future__ import annotations

import uuid
from dataclasses import astuple
from typing import Any

import gradio as gr

from toolkit.errors import UsageError
from toolkit.run_folder import all_runs
from toolkit.studio import frame, reading, recipe_form, runs_markup, settings_form, start_markup, tastes
from toolkit.studio.launching import Launcher
from toolkit.studio.markup import notice, problem, run_url
from toolkit.studio.recipe_form import Fields
from toolkit.studio.speech import say, told
from toolkit.studio.start_form import BESIDE, FIELDS, Parts, StartForm

RECENT = 3
# A changed field of the settings becomes the form's own event, with its name and what was typed.
ON_CHANGE = """element.addEventListener('change', (event) => {
  const field = event.target.closest('[data-setting]');
  if (field) trigger('input', {section: field.dataset.section, setting: field.dataset.setting, typed: field.value});
});"""


# Component → its properties, each by the name of the part that it shows; the others show the part of their own name.
SHOWS = {
    "method": {"value": "method", "choices": "methods"},
    "library": {"value": "library", "choices": "pairs", "visible": "is_words"},
    "folder": {"value": "folder", "visible": "has_folder", "label": "folder_label"},
    "fit": {"visible": "fit"},
}


class StartPage:
    """Draws the page once and answers its events; holds nothing of a visitor's."""

    def __init__(self, pages: gr.Blocks, launcher: Launcher, form: StartForm) -> None:
        """launcher starts runs, form says what the page shows."""
        self._pages, self._launcher, self._form = pages, launcher, form
        self._parts: dict[str, Any] = {}  # every component that an event may change, by name
        self._first = recipe_form.fields(recipe_form.first())
        frame.rail("Start")
        frame.html(start_markup.head())
        self._draw_base()
        self._draw_taste()
        self._draw_needs()
        self._draw_settings()
        self._draw_go()
        self._wire()

    # ── The cards ──

    def _draw_base(self) -> None:
        with gr.Column(elem_classes="card", elem_id="step-1"):
            frame.html(f"<h2>1 · {say('Which model?')}</h2>")
            self._parts["base"] = gr.Radio(
                recipe_form.choices("bases"), value=self._first.base, label=say("Base"), elem_classes="chips",
                elem_id="base",
            )  # fmt: skip

    def _draw_taste(self) -> None:
        first, parts = self._first, self._parts
        with gr.Column(elem_classes="card", elem_id="step-2"):
            frame.html(f"<h2>2 · {say('What should pictures be more like?')}</h2>")
            parts["taste"] = gr.Radio(
                [(say(taste.label), name) for name, taste in tastes.TASTES.items()], value=first.taste,
                label=say("What you bring"), elem_classes="chips", elem_id="taste",
            )  # fmt: skip
            parts["about_taste"] = frame.html(start_markup.taste(first.taste), elem_id="about-taste")
            parts["folder"] = gr.Textbox(
                "", label=say("Folder"), max_length=tastes.LONGEST_PLACE, visible=False, elem_id="folder"
            )
            parts["found"] = frame.html("", elem_id="found", elem_classes="trouble")
            with gr.Row():
                parts["positive"] = gr.Textbox(
                    first.positive, label=say("More like"), max_length=200, elem_id="positive"
                )
                parts["negative"] = gr.Textbox(
                    first.negative, label=say("Less like"), max_length=200, elem_id="negative"
                )
            parts["library"] = gr.Radio(
                start_markup.library(), label=say("Or pick a pair"), value=f"{first.positive} / {first.negative}",
                elem_classes="chips", elem_id="library",
            )  # fmt: skip
            parts["separation"] = frame.html(start_markup.measuring(), elem_id="separation")
            parts["pictures"] = frame.html(start_markup.pictures(first))
            shown = [(recipe_form.label("methods", name), name) for name in tastes.methods(first.taste)]
            parts["method"] = gr.Radio(
                shown, value=first.method, label=say("Method"), info=say("The first is the one to begin with."),
                elem_classes="chips", elem_id="method",
            )  # fmt: skip
            parts["about"] = frame.html(start_markup.chosen_method(first.method))
            self.everything = gr.Checkbox(False, label=say("More methods"), elem_id="more")

    def _draw_needs(self) -> None:
        first, parts = self._first, self._parts
        with gr.Column(elem_classes="card", elem_id="step-3"):
            frame.html(f"<h2>3 · {say('How long, and does it fit?')}</h2>")
            with gr.Row(elem_classes="budget"):
                parts["budget"] = gr.Radio(
                    start_markup.budgets(),
                    value=first.updates, label=say("Budget"), elem_classes="chips", elem_id="budget", scale=3,
                )  # fmt: skip
                parts["updates"] = gr.Number(
                    first.updates, label=say("Updates"), precision=0, minimum=1, maximum=1_000_000, elem_id="updates",
                    scale=1, min_width=110,
                )  # fmt: skip
                self.card = gr.Textbox(
                    "", label=say("Plan for a card of (GB)"), placeholder=say("this machine"), max_length=20,
                    elem_id="card", scale=1, min_width=160,
                )  # fmt: skip
            parts["plan"] = frame.html("", elem_id="plan")
            parts["fit"] = gr.Button(
                say("Apply these settings"), visible=False, elem_id="apply", scale=0, min_width=200
            )

    def _draw_settings(self) -> None:
        with gr.Accordion(say("All settings"), open=False, elem_classes="card settings"), gr.Row():
            with gr.Column(min_width=300):
                self.ready = gr.Dropdown(
                    [("", ""), *((name, name) for name in recipe_form.shipped())], value="",
                    label=say("Open a recipe"), info=say("Or paste a file of your own into the box."), elem_id="ready",
                )  # fmt: skip
                self._parts["settings"] = frame.html(
                    settings_form.drawn(recipe_form.first()), js_on_load=ON_CHANGE, elem_id="settings"
                )
            with gr.Column(min_width=300):
                self.yaml = gr.Code(
                    recipe_form.first(), language="yaml", label=say("Recipe (YAML)"), elem_id="yaml", lines=12,
                    max_lines=40, show_line_numbers=True,
                )  # fmt: skip
                frame.html(f'<p class="quiet">{say("Fields write into it, and what you type here moves them.")}</p>')

    def _draw_go(self) -> None:
        self._parts["trouble"] = frame.html("", elem_id="trouble", elem_classes="trouble")
        with gr.Row(elem_classes="actions", elem_id="step-4"):
            self.hint = frame.html("")
            self.queue = gr.Button(say("Queue"), elem_id="queue", scale=0, min_width=120)
            self.go = gr.Button(say("Start"), variant="primary", elem_id="start", scale=0, min_width=160)
        self.recent = frame.html("", elem_id="recent")
        self.timer = gr.Timer(frame.TICK_SECONDS / 2, active=False)  # only while something is being worked out
        self.ticket = gr.Textbox(visible=False)
        self.target = gr.Textbox(visible=False)
        self._parts["seen"] = gr.JSON(list(astuple(self._first)), visible=False)

    # ── Events ──

    def _wire(self) -> None:
        parts = self._parts
        self._names = ("yaml", *FIELDS, *BESIDE)
        parts["yaml"] = self.yaml
        fields = [parts[name] for name in FIELDS]
        outputs = [parts[name] for name in self._names]
        latest: dict[str, Any] = {"outputs": outputs, "trigger_mode": "always_last", **frame.QUIET}
        once: dict[str, Any] = {"outputs": outputs, **frame.QUIET}
        look: dict[str, Any] = {
            "fn": self.look, "inputs": [self.yaml, self.card], "outputs": [self.timer, *outputs],
            "trigger_mode": "always_last", **frame.QUIET,
        }  # fmt: skip

        # A field that is being typed in is never written to, or letters would get lost. Gradio's `input` misses what is
        # pasted, so leaving the box counts as well.
        typed: dict[str, Any] = {"fn": self.fill, "inputs": [self.yaml, self.everything, *fields], **latest}
        for name in ("positive", "negative", "folder", "updates"):
            parts[name].input(**typed)
            parts[name].blur(**typed).then(**look)
            parts[name].submit(**typed).then(**look)
        for name in ("taste", "base", "method"):
            parts[name].input(**typed).then(**look)
        self.everything.input(**typed)
        parts["library"].input(self.pick, [self.yaml, self.everything, parts["library"], *fields], **once).then(**look)
        parts["budget"].input(self.spend, [self.yaml, self.everything, parts["budget"], *fields], **once).then(**look)
        parts["settings"].input(self.put, [self.yaml, self.everything], **once).then(**look)
        parts["fit"].click(self.apply, [self.yaml, self.everything, self.card], **once).then(**look)
        self.ready.input(self.open, [self.ready, self.everything], **once).then(**look)
        self.yaml.input(self.read, [self.yaml, self.everything], **latest)
        for part in (self.yaml, self.card):
            part.blur(**look)
        self.card.submit(**look)
        self.timer.tick(**look)
        self._pages.load(
            self.load, None, [self.ticket, self.recent, self.hint, *outputs], **frame.QUIET
        ).then(**look)  # fmt: skip
        self._wire_start([self.yaml, parts["seen"], self.ticket, *fields])

    def _wire_start(self, inputs: list[Any]) -> None:
        trouble = self._parts["trouble"]
        self.go.click(
            self.start, inputs, [self.target, self.ticket, trouble], trigger_mode="once", **frame.QUIET
        ).then(None, [self.target], None, js=frame.GO_TO)  # fmt: skip
        self.queue.click(self.enqueue, inputs, [self.ticket, trouble], trigger_mode="once", **frame.QUIET)

    def _sent(self, parts: Parts) -> list[Any]:
        """Each output's new properties; what is not among the parts is left as it is."""
        sent = []
        for name in self._names:
            shows = SHOWS.get(name, {"value": name})
            changed = {prop: parts[part] for prop, part in shows.items() if part in parts}
            sent.append(gr.update(**changed) if changed else gr.skip())
        return sent

    def load(self, request: gr.Request) -> tuple[object, ...]:
        """What only a fresh page needs; the form is as drawn unless `?from=` names a run to start from."""
        content = ""
        parts: Parts = {}
        named = [request.query_params.get(side, "")[:200] for side in ("positive", "negative")]
        if source := request.query_params.get("from", ""):
            try:
                content = reading.find(self._launcher.root, source).recipe_file.read_text(encoding="utf-8")
            except (UsageError, OSError) as error:
                parts["trouble"] = notice("watch", told(str(error)))
        elif all(named):
            content = recipe_form.taught(*named)
        parts |= {"pairs": self._form.library(), **({"yaml": content, **self._form.read(content)} if content else {})}
        runs = [reading.view(run) for run in all_runs(self._launcher.root)[:RECENT]]
        recent = runs_markup.section(say("Lately"), [runs_markup.card(run, actions=False) for run in runs])
        hint = f'<p class="quiet">{say("A run is training now; this one starts when it ends.")}</p>'
        hint = "" if self._launcher.free_lanes() else hint
        return (uuid.uuid4().hex, recent, hint, *self._sent(parts))

    def fill(self, content: str, everything: bool, *typed: Any) -> list[Any]:
        """A field changed."""
        return self._sent(self._form.fill(content, _fields(typed), everything=everything))

    def read(self, content: str, everything: bool) -> list[Any]:
        """The YAML was typed in."""
        return self._sent(self._form.read(content, everything=everything))

    def open(self, name: str, everything: bool) -> list[Any]:
        """A ready recipe was chosen."""
        return self._sent(self._form.opened(name, everything=everything) if name else {})

    def pick(self, content: str, everything: bool, chosen: str, *typed: Any) -> list[Any]:
        """A pair of the library was picked."""
        return self._sent(self._form.pick(content, chosen, _fields(typed), everything=everything))

    def spend(self, content: str, everything: bool, budget: int, *typed: Any) -> list[Any]:
        """A named budget was picked."""
        wanted = _fields((*typed[:-1], budget))
        return self._sent({"updates": budget, **self._form.fill(content, wanted, everything=everything)})

    def put(self, content: str, everything: bool, event: gr.EventData) -> list[Any]:
        """A field of the settings changed."""
        section, setting, typed = (str(getattr(event, name, "")) for name in ("section", "setting", "typed"))
        return self._sent(self._form.put(content, section, setting, typed, everything=everything))

    def apply(self, content: str, everything: bool, card: str) -> list[Any]:
        """Take the settings that make it fit."""
        return self._sent(self._form.fit(content, card, everything=everything))

    def look(self, content: str, card: str) -> list[Any]:
        """What takes time; the timer asks again while something is to come."""
        parts, is_coming = self._form.look(content, card)
        return [gr.Timer(active=is_coming), *self._sent(parts)]

    def start(self, content: str, seen: list[object], ticket: str, *typed: Any) -> tuple[str, str, str]:
        """Start the run and say where its page is."""
        try:
            name = self._launcher.start(recipe_form.reconcile(content, _fields(typed), seen), ticket)
        except UsageError as error:
            return "", ticket, problem(error)
        return run_url(name), uuid.uuid4().hex, ""

    def enqueue(self, content: str, seen: list[object], ticket: str, *typed: Any) -> tuple[str, str]:
        """Queue the run behind all others, and stay for the next one."""
        try:
            name, place = self._launcher.enqueue(recipe_form.reconcile(content, _fields(typed), seen), ticket)
        except UsageError as error:
            return ticket, problem(error)
        return uuid.uuid4().hex, start_markup.queued(name, place)


def _fields(typed: Any) -> Fields:
    """The form's fields as they came from the page."""
    taste, positive, negative, folder, base, method, updates = typed
    known = taste if taste in tastes.TASTES else tastes.WORDS
    return Fields(known, positive or "", negative or "", folder or "", base, method, int(updates or 1))
