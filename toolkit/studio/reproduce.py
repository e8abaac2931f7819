"""“Reproduce in ComfyUI” on a run's page: the workflow that draws as its previews did, made and handed over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from toolkit.comfyui import families, reproducing
from toolkit.errors import UsageError
from toolkit.studio import frame, reading
from toolkit.studio.markup import cut_in_the_middle, file_url, problem, text
from toolkit.studio.reading import View
from toolkit.studio.speech import paragraph, phrase, say

LONGEST_PROMPT = 2000
# number that may be given → what it is where nothing is
NUMBERS = {
    phrase("Seed"): phrase("the run's"), phrase("Steps"): phrase("the previews'"),
    phrase("Strength"): phrase("recommended"),
}  # fmt: skip
MOST_SEED, MOST_STEPS, MOST_STRENGTH = 2**32 - 1, 1000, 4


def is_possible(view: View) -> bool:
    """Whether there is a LoRA, of a family that core's nodes draw."""
    return bool(view.lora_files) and view.recipe is not None and view.recipe.base.name in families.FAMILIES


class Reproduce:
    """Draws its fold where it is built; `fold` is for the page to show or to hide."""

    def __init__(self, root: Path) -> None:
        """root: the folder of all runs."""
        self._root = root
        with gr.Accordion(
            say("Reproduce in ComfyUI"), open=False, visible=False, elem_classes="fold", elem_id="reproduce"
        ) as self.fold:
            frame.html(f'<p class="quiet">{say("What is left empty is as in the previews of the run.")}</p>')
            prompt = gr.Textbox(
                "", label=say("Prompt"), placeholder=say("the first preview's"), max_length=LONGEST_PROMPT
            )
            with gr.Row():
                # Text, because an empty number of Gradio's arrives as 0.
                seed, steps, strength = (
                    gr.Textbox("", label=say(label), placeholder=say(empty), max_length=20, min_width=90)
                    for label, empty in NUMBERS.items()
                )
            words = gr.Checkbox(False, label=say("Put the LoRA's words before the prompt"))
            make = gr.Button(say("Make the workflow"), elem_id="make-workflow", scale=0, min_width=170)
            made = frame.html("", elem_id="workflow", elem_classes="trouble")
        name = gr.Textbox(visible=False)
        make.click(
            self.make, [name, prompt, seed, steps, strength, words], [made],
            js=f"(name, ...rest) => [{frame.RUN_IN_URL}, ...rest]", trigger_mode="once", **frame.QUIET,
        )  # fmt: skip

    def make(self, name: str, prompt: str, seed: str, steps: str, strength: str, words: bool) -> str:
        """Write the workflow into the run's folder and say where it is."""
        try:
            run = reading.find(self._root, name)
            wanted: dict[str, Any] = {
                "seed": _given("Seed", seed, int, 0, MOST_SEED),
                "steps": _given("Steps", steps, int, 1, MOST_STEPS),
                "strength": _given("Strength", strength, float, -MOST_STRENGTH, MOST_STRENGTH),
            }
            drawing = reproducing.of_run(run, str(prompt or "").strip()[:LONGEST_PROMPT])
            given = {field: value for field, value in wanted.items() if value is not None}
            drawing = replace(drawing, word_strength=float(bool(words)), **given)
            path = run.report / f"{run.name}-comfyui.json"
            path.parent.mkdir(exist_ok=True)
            reproducing.write(drawing, path)
        except UsageError as error:
            return problem(error)
        except OSError as error:
            return problem(UsageError(say("The run's folder cannot be written: {why}.", why=error.strerror or error)))
        places = "".join(f"<li><code>{text(cut_in_the_middle(place))}</code></li>" for place in drawing.places())
        install = "<code>palate comfy install</code>"
        about = paragraph(
            say("Seed {seed}, strength {strength}.", seed=drawing.seed, strength=f"{drawing.strength:g}"),
            say("Drag the file onto ComfyUI's page."),
            say("It needs the Palate nodes ({install}) and:", install=install),
        )
        return (
            f'<p><a class="button" href="{file_url(path)}" download="{text(path.name)}">'
            f'{say("Download workflow")}</a></p><p class="quiet">{about}</p><ul class="plain">{places}</ul>'
        )


def _given(label: str, typed: str, kind: type[int] | type[float], least: int, most: int) -> float | None:
    """The number that was typed, or None. Raises UsageError for what is none, or beyond its limits."""
    if not typed.strip():
        return None
    try:
        value = kind(typed)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise UsageError(
            say("{what} is a number from {least} to {most}.", what=say(label), least=least, most=most),
            action=say("Leave it empty for the run's own."),
        )
    return value
