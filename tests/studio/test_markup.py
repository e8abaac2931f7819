import re
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from toolkit import atomic, recipe
from toolkit.run_folder import FAILED, QUEUED, RUNNING, RunFolder
from toolkit.studio import reading, run_markup, runs_markup, start_markup
from toolkit.studio.markup import duration, number, prose, text
from toolkit.studio.run import PARTS
from toolkit.word_scorer import Separation

MakeRun = Callable[..., RunFolder]

VOID = {"img", "input", "br", "meta", "link"}
HOSTILE = "<script>alert(1)</script> {{value}} ${value} `x` \"quoted\" & 'single'"


class Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name == "style" or name.startswith("on") for name, _ in attrs), "inline style or handler"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(content: str) -> Balance:
    balance = Balance()
    balance.feed(content)
    assert balance.open == []
    return balance


def test_text_is_safe_in_html_and_in_gradios_templates() -> None:
    assert not set("<>{}$`\"'") & set(text(HOSTILE))
    assert prose("set `lr` to 1") == "set <code>lr</code> to 1"


@pytest.mark.parametrize("state", ["done", "base kept", "running", "begun", "failed", "no recipe", "alarm"])
def test_every_part_of_every_state_is_whole_html_without_inline_styles(
    told: SimpleNamespace, make_run: MakeRun, state: str
) -> None:
    run = make_run(best={"done": 20, "base kept": 0, "alarm": 20}.get(state))
    if state in ("running", "begun", "failed"):
        run.write_state({"running": RUNNING, "begun": QUEUED, "failed": FAILED}[state], message=HOSTILE, pid=0)
    if state == "begun":
        run.events_file.unlink()
        run.log_file.unlink()
    if state == "no recipe":
        run.recipe_file.write_text(": : :")
    if state == "alarm":
        told.append(
            run, told.check(30) | {"guards": {"texture": {"state": "bad", "sentence": "Fine texture is rising."}}}
        )
    view = reading.view(run)
    for draw in PARTS.values():
        parsed(draw(view))
    parsed(runs_markup.section("Lately", [runs_markup.card(view)]))


def test_what_people_typed_stays_text(make_run: MakeRun) -> None:
    run = make_run()
    words = {"positive": HOSTILE[:150], "negative": "plain"}
    run.recipe_file.write_text(recipe.parse({"name": "taste", "words": words}).to_yaml())
    drawn = "".join(draw(reading.view(run)) for draw in PARTS.values())
    assert "script" not in parsed(drawn).seen
    assert "{{" not in drawn


def test_numbers_say_from_where_to_where(make_run: MakeRun) -> None:
    drawn = run_markup.numbers(reading.view(make_run()))
    assert "0.30 → 0.42" in drawn
    assert "95 % of base" in drawn  # diversity 0.40 → 0.38
    assert "All guards fine" in drawn


def test_a_troubled_guard_is_a_sentence_with_its_number(told: SimpleNamespace, make_run: MakeRun) -> None:
    run = make_run(best=None)
    late = told.check(30, texture=0.25)
    late["guards"]["texture"] = {"state": "bad", "sentence": "Fine texture is rising."}
    told.append(run, late)
    drawn = re.sub(r"<[^>]+>", "", run_markup.guards(reading.view(run)))
    assert "Fine texture is rising. texture 0.10 → 0.25" in drawn
    assert "Others fine" in drawn


def test_the_guards_shown_are_those_of_the_numbers_shown(told: SimpleNamespace, make_run: MakeRun) -> None:
    run = make_run(best=None)
    late = told.check(30, texture=0.25)
    late["guards"]["texture"] = {"state": "bad", "sentence": "Fine texture is rising."}
    told.append(run, late, told.verdict(20, 30))
    drawn = run_markup.guards(reading.view(run))
    assert "All guards fine" in drawn
    assert "Guards at update 20" in drawn


def test_what_was_asked_of_a_run_is_said_until_it_is_there(make_run: MakeRun) -> None:
    run = make_run(status=RUNNING, best=None)
    for wish in run.wishes:
        run.request(wish)
    assert "After this update: pictures and a checkpoint that is kept." in run_markup.asked(reading.view(run))
    run.take_wishes()
    assert run_markup.asked(reading.view(run)) == ""


def test_found_lines_stay_text() -> None:
    assert "script" not in parsed(run_markup.found([HOSTILE])).seen
    assert "No line" in run_markup.found([])


def test_a_failed_run_says_why_and_folds_the_log(make_run: MakeRun) -> None:
    drawn = run_markup.head(reading.view(make_run(status=FAILED, best=None, message="Training diverged at update 13.")))
    assert "Training diverged at update 13." in drawn
    assert re.search(r"<details>.*Loading.*</details>", drawn, re.DOTALL)


def test_the_lora_is_offered_only_when_it_is_finished(make_run: MakeRun) -> None:
    run = make_run()
    assert "Download LoRA" in run_markup.download(reading.view(run))
    (run.lora / ".taste.half.safetensors").write_bytes(b"half")
    assert ".half" not in run_markup.files(reading.view(run))
    run.write_state(RUNNING)
    assert run_markup.download(reading.view(run)) == ""


@pytest.mark.parametrize(
    ("base", "said"),
    [("demo", ["diffusers and ComfyUI"]), ("sdxl", ["diffusers", "ComfyUI"])],
)
def test_every_file_of_the_lora_is_offered_to_the_program_that_reads_it(
    make_run: MakeRun, base: str, said: list[str]
) -> None:
    run = make_run()
    trained = run.recipe().model_copy(update={"base": recipe.Section(name=base)})
    atomic.write_file(run.recipe_file, trained.to_yaml())
    if len(said) == 2:
        (run.lora / "taste_comfyui.safetensors").write_bytes(b"lora too")
    view = reading.view(run)
    parsed(drawn := run_markup.download(view))
    assert re.findall(r">(Download[^<]*)<", drawn) == [
        *(["Download LoRA"] if len(said) == 1 else [f"Download LoRA for {program}" for program in said])
    ]
    assert drawn.count("button primary") == 1
    assert re.findall(r"the LoRA, for ([^<]*)<", run_markup.files(view)) == said


def test_weak_words_are_called_weak() -> None:
    assert "tells them apart: 0.94" in start_markup.separation(Separation(0.94), "demo")
    weak = start_markup.separation(Separation(0.62), "demo")
    assert "hardly tells them apart: 0.62" in weak
    assert "watch" in weak


def test_style_words_have_pictures_and_others_have_none() -> None:
    shown = start_markup.examples.pictures("3d render")
    assert len(shown) == 5
    assert all(url.startswith("data:image/webp;base64,") for _, url in shown)
    assert start_markup.examples.pictures("moody") == ()


@pytest.mark.parametrize(("seconds", "told"), [(0.2, "1 s"), (40, "40 s"), (200, "3 min"), (7500, "2 h 5 min")])
def test_durations_are_said_plainly(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_missing_number_is_a_dash_and_minus_is_a_minus() -> None:
    assert (number(None), number(-0.5)) == ("–", "−0.50")
