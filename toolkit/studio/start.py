"""The Start page: a word pair, a base, a method, a budget, and the recipe they make."""

from __future__ import annotations

import uuid
from dataclasses import astuple
from typing import Any

import gradio as gr

from toolkit import words
from toolkit.errors import UsageError
from toolkit.favourites import Favourites
from toolkit.run_folder import all_runs
from toolkit.studio import frame, reading, recipe_form, runs_markup, separating, start_markup
from toolkit.studio.launching import Launcher
from toolkit.studio.markup import notice, problem, run_url
from toolkit.studio.recipe_form import Fields
from toolkit.word_scorer import WordScorer

RECENT = 3
FIELDS, BESIDE = 5, 7  # how many parts a field change and its surroundings have
LIBRARY = FIELDS + 1  # which of them are the pairs on offer


class StartPage:
    """Draws the page once and answers its events; holds nothing of a visitor's."""

    def __init__(self, pages: gr.Blocks, launcher: Launcher, scorer: WordScorer, favourites: Favourites) -> None:
        """launcher starts runs, scorer measures word pairs, favourites are offered first."""
        self._pages, self._launcher, self._scorer, self._favourites = pages, launcher, scorer, favourites
        self._draw()
        self._wire()

    def _draw(self) -> None:
        first = recipe_form.fields(recipe_form.first())
        frame.rail("Start")
        frame.html(
            '<h1>Teach a taste</h1><p class="lead">'
            "Two words tell the model which way to go. A few minutes later you hold a LoRA.</p>"
        )
        with gr.Column(elem_classes="card"):
            frame.html("<h2>What should pictures be more like?</h2>")
            with gr.Row():
                self.positive = gr.Textbox(first.positive, label="More like", max_length=200, elem_id="positive")
                self.negative = gr.Textbox(first.negative, label="Less like", max_length=200, elem_id="negative")
            self.library = gr.Radio(
                start_markup.library(), label="Or pick a pair", value=f"{first.positive} / {first.negative}",
                elem_classes="chips", elem_id="library",
            )  # fmt: skip
            self.separation = frame.html(start_markup.measuring(), elem_id="separation")
            self.pictures = frame.html(start_markup.pictures(first))
        with gr.Column(elem_classes="card"):
            frame.html("<h2>Which model, and how?</h2>")
            self.base = gr.Radio(recipe_form.choices("bases"), value=first.base, label="Base", elem_classes="chips")
            self.method = gr.Radio(
                recipe_form.choices("methods"),
                value=first.method,
                label="Method",
                elem_classes="chips",
                elem_id="method",
            )
            self.about = frame.html(start_markup.chosen_method(first.method))
            with gr.Row(elem_classes="budget"):
                self.budget = gr.Radio(
                    [(f"{name} · {updates} updates", updates) for name, updates in recipe_form.BUDGETS.items()],
                    value=first.updates, label="Budget", elem_classes="chips", elem_id="budget", scale=3,
                )  # fmt: skip
                self.updates = gr.Number(
                    first.updates,
                    label="Updates",
                    precision=0,
                    minimum=1,
                    maximum=1_000_000,
                    elem_id="updates",
                    scale=1,
                    min_width=110,
                )
        with gr.Accordion("All settings", open=False, elem_classes="card settings"):
            frame.html(
                '<p class="quiet">The recipe. The fields above write into it, and what you type here moves them.</p>'
            )
            self.yaml = gr.Code(
                recipe_form.first(),
                language="yaml",
                label="Recipe (YAML)",
                elem_id="yaml",
                lines=12,
                max_lines=40,
                show_line_numbers=True,
            )
        self.trouble = frame.html("", elem_id="trouble", elem_classes="trouble")
        with gr.Row(elem_classes="actions"):
            self.hint = frame.html("")
            self.queue = gr.Button("Queue", elem_id="queue", scale=0, min_width=120)
            self.go = gr.Button("Start", variant="primary", elem_id="start", scale=0, min_width=160)
        self.recent = frame.html("", elem_id="recent")
        self.timer = gr.Timer(frame.TICK_SECONDS / 2, active=False)  # only while a pair is being measured
        self.ticket = gr.Textbox(visible=False)
        self.target = gr.Textbox(visible=False)
        self.seen = gr.JSON(list(astuple(first)), visible=False)

    def _wire(self) -> None:
        fields = [self.positive, self.negative, self.base, self.method, self.updates]
        beside = [
            self.trouble, self.library, self.budget, self.about, self.pictures, self.separation, self.seen,
        ]  # fmt: skip
        latest: dict[str, Any] = {"trigger_mode": "always_last", **frame.QUIET}

        # A field that is being typed in is never written to, or letters would get lost. Gradio's `input` misses what is
        # pasted, so leaving the box counts as well.
        typed = {"fn": self.fill, "inputs": [self.yaml, *fields], "outputs": [self.yaml, *beside], **latest}
        for choice in (self.base, self.method, self.updates, self.positive, self.negative):
            choice.input(**typed)
        measure = {"fn": self.measure, "inputs": [self.yaml], "outputs": [self.separation, self.timer], **latest}
        for box in (self.positive, self.negative, self.updates):
            box.blur(**typed).then(**measure)
            box.submit(**typed).then(**measure)
        self.library.input(
            self.pick, [self.yaml, self.library, *fields], [self.yaml, *fields, *beside], **frame.QUIET
        ).then(**measure)
        self.budget.input(
            self.spend, [self.yaml, self.budget, *fields], [self.updates, self.yaml, *beside], **frame.QUIET
        )
        self.yaml.input(self.read, [self.yaml], [*fields, *beside], **latest)
        self.yaml.blur(**measure)
        self.timer.tick(**measure)
        self._pages.load(
            self.load, None, [self.ticket, self.recent, self.hint, self.yaml, *fields, *beside], **frame.QUIET
        ).then(**measure)
        self.go.click(
            self.start, [self.yaml, self.seen, self.ticket, *fields], [self.target, self.ticket, self.trouble],
            trigger_mode="once", **frame.QUIET,
        ).then(None, [self.target], None, js=frame.GO_TO)  # fmt: skip
        self.queue.click(
            self.enqueue, [self.yaml, self.seen, self.ticket, *fields], [self.ticket, self.trouble],
            trigger_mode="once", **frame.QUIET,
        )  # fmt: skip

    def load(self, request: gr.Request) -> tuple[object, ...]:
        """What only a fresh page needs; the form is as drawn unless `?from=` names a run to start from."""
        content: Any = gr.skip()
        named = [request.query_params.get(side, "")[:200] for side in ("positive", "negative")]
        shown: list[object] = [gr.skip() for _ in range(FIELDS + BESIDE)]
        if source := request.query_params.get("from", ""):
            try:
                content = reading.find(self._launcher.root, source).recipe_file.read_text(encoding="utf-8")
                shown = list(self.read(content))
            except (UsageError, OSError) as error:
                shown[FIELDS] = notice("watch", str(error))
        elif all(named):
            content = recipe_form.taught(*named)
            shown = list(self.read(content))
        shown[LIBRARY] = self._offered(shown[LIBRARY])
        runs = [reading.view(run) for run in all_runs(self._launcher.root)[:RECENT]]
        recent = runs_markup.section("Lately", [runs_markup.card(run, actions=False) for run in runs])
        hint = '<p class="quiet">A run is training now; this one starts when it ends.</p>'
        hint = "" if self._launcher.free_lanes() else hint
        return (uuid.uuid4().hex, recent, hint, content, *shown)

    def _offered(self, chosen: Any) -> Any:
        """The pairs to pick from, favourites first; `chosen` as it is when it is one of them."""
        choices = start_markup.library(self._favourites.offered())
        return gr.Radio(choices=choices, value=chosen) if isinstance(chosen, str) else gr.Radio(choices=choices)

    def read(self, content: str) -> tuple[object, ...]:
        """Fields and what stands beside them for YAML that was typed; both stay while it is no recipe at all."""
        try:
            fields = recipe_form.fields(content)
        except UsageError as error:
            return (*(gr.skip() for _ in range(FIELDS)), problem(error), *(gr.skip() for _ in range(BESIDE - 1)))
        return (*astuple(fields), *self._beside(content, fields))

    def fill(
        self, content: str, positive: str, negative: str, base: str, method: str, updates: float | None
    ) -> tuple[object, ...]:
        """The YAML after a field changed, and what stands beside; text that is no YAML is kept as it is."""
        wanted = Fields(positive, negative, base, method, int(updates or 1))
        try:
            filled = recipe_form.fill(content, wanted)
        except UsageError as error:
            return (gr.skip(), problem(error), *(gr.skip() for _ in range(BESIDE - 1)))
        return (filled, *self._beside(filled, wanted))

    def pick(self, content: str, chosen: str, positive: str, negative: str, *rest: Any) -> tuple[object, ...]:
        """A pair of the library, into YAML and fields."""
        offered = (*self._favourites.offered(), *(entry.pair() for entry in words.library()))
        pair = next((pair for pair in offered if start_markup.key(pair) == chosen), None)
        if pair is not None:
            positive, negative = pair.positive, pair.negative
        filled, *beside = self.fill(content, positive, negative, *rest)
        return (filled, positive, negative, *rest, *beside)

    def spend(self, content: str, budget: int, positive: str, negative: str, *rest: Any) -> tuple[object, ...]:
        """A named budget, into YAML and the number beside it."""
        base, method, _updates = rest
        return (budget, *self.fill(content, positive, negative, base, method, budget))

    def _beside(self, content: str, fields: Fields) -> tuple[object, ...]:
        """Trouble, library, budget, method's sentence, pictures, separation, and what form and YAML now agree on."""
        pair = f"{fields.positive} / {fields.negative}"
        known = pair if pair in [value for _, value in start_markup.library(self._favourites.offered())] else None
        budget = fields.updates if fields.updates in recipe_form.BUDGETS.values() else None
        return (
            problem(error) if (error := recipe_form.trouble(content)) else "",
            known,
            budget,
            start_markup.chosen_method(fields.method),
            start_markup.note(fields) + start_markup.pictures(fields),
            separating.drawn(self._scorer, content, ask=False)[0],
            list(astuple(fields)),
        )

    def measure(self, content: str) -> tuple[str, Any]:
        """The separation of the pair; while it is being measured the timer asks again."""
        drawn, is_coming = separating.drawn(self._scorer, content, ask=True)
        return drawn, gr.Timer(active=is_coming)

    def start(self, content: str, seen: list[object], ticket: str, *typed: object) -> tuple[str, str, str]:
        """Start the run and say where its page is."""
        try:
            fields = Fields(*typed)  # type: ignore[arg-type]
            name = self._launcher.start(recipe_form.reconcile(content, fields, seen), ticket)
        except UsageError as error:
            return "", ticket, problem(error)
        return run_url(name), uuid.uuid4().hex, ""

    def enqueue(self, content: str, seen: list[object], ticket: str, *typed: object) -> tuple[str, str]:
        """Queue the run behind all others, and stay for the next one."""
        try:
            fields = Fields(*typed)  # type: ignore[arg-type]
            name, place = self._launcher.enqueue(recipe_form.reconcile(content, fields, seen), ticket)
        except UsageError as error:
            return ticket, problem(error)
        return uuid.uuid4().hex, start_markup.queued(name, place)
