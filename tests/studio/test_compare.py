"""The Compare page's logic and markup: fields to comparison and back, previews at once, everything typed stays text."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import astuple, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from toolkit.comparison import check, pin
from toolkit.comparison_folder import Comparisons, Progress
from toolkit.errors import UsageError
from toolkit.run_folder import DONE, FAILED, INTERRUPTED, QUEUED, RUNNING, STOPPED, RunFolder
from toolkit.studio import compare_markup, comparing
from toolkit.studio.compare import PARTS, ComparePage
from toolkit.studio.comparing import SWEEP, WORDS, Fields

MakeRun = Callable[..., RunFolder]
HOSTILE = "<script>alert(1)</script> {{value}} ${value} `x` \"quoted\" & 'single'"
FILLED = Fields(right="taste", prompts="a dog\n\n a cat ")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not any(name == "style" or name.startswith("on") for name, _ in attrs), "inline style or handler"


@pytest.fixture
def root(make_run: MakeRun) -> Path:
    run = make_run()
    (run.checkpoints / "000020" / "adapter.safetensors").write_bytes(b"adapter")
    return run.path.parent


@pytest.fixture
def page(root: Path, monkeypatch: pytest.MonkeyPatch) -> ComparePage:
    """The real page; its requests wait for ever."""
    monkeypatch.setattr(Comparisons, "_has_worker", lambda self: True)
    with gr.Blocks() as pages:
        return ComparePage(pages, Comparisons(root))


def labels(root: Path, fields: Fields) -> list[str]:
    return [column.label for column in comparing.wanted(root, fields).columns]


def test_the_presets_are_columns(root: Path) -> None:
    assert labels(root, FILLED) == ["base", "taste"]
    assert labels(root, replace(FILLED, strength=0.5, others=["taste@20"])) == [
        "base",
        "taste × 0.5",
        "taste @20 × 0.5",
    ]
    swept = labels(root, replace(FILLED, preset=SWEEP, style="soft"))
    assert swept == ["base + soft", *(f"taste{s} + soft" for s in (" × 0.5", " × 0.75", "", " × 1.25", " × 1.5"))]
    matrix = ["base", "taste", "base + 3d render", "taste + 3d render", "base + line art", "taste + line art"]
    assert labels(root, replace(FILLED, preset=WORDS)) == matrix
    assert labels(root, replace(FILLED, preset=WORDS, style="soft")) == ["base", "taste", "base + soft", "taste + soft"]


@pytest.mark.parametrize(
    "fields",
    [
        FILLED,
        replace(FILLED, left="taste@20", seed=3, pictures=2, steps=7, guidance_scale=1.5, strength=0.5, style="soft"),
        replace(FILLED, others=["taste@20"]),
        replace(FILLED, preset=SWEEP),
        replace(FILLED, preset=WORDS),
        replace(FILLED, preset=WORDS, style="soft"),
    ],
)
def test_a_request_gives_the_fields_back(root: Path, fields: Fields) -> None:
    """So that a reload shows what was typed."""
    request = pin(root, comparing.wanted(root, fields))
    back = comparing.fields(request)
    assert pin(root, comparing.wanted(root, back)) == request
    expected = replace(fields, prompts="a dog\na cat", guidance_scale=request.comparison.guidance_scale)
    assert replace(back, others=list(back.others)) == replace(expected, others=list(expected.others))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"right": None}, "Nothing is chosen on the right."),
        ({"right": "nobody"}, "There is no run “nobody” here."),
        ({"right": "../taste"}, "There is no run"),
        ({"right": ["taste"]}, "There is no run"),
        ({"right": "taste@7"}, "has no checkpoint 7"),
        ({"left": "taste"}, "is there twice"),
        ({"prompts": " \n "}, "There is no prompt."),
        ({"prompts": "x" * 10_001}, "longer than 10,000"),
        ({"prompts": "x" * 600}, "at most 500"),
        ({"others": "taste" * 50}, "too many"),
        ({"others": 7}, "too many"),
        ({"others": [f"taste@{n}" for n in range(1, 20)]}, "at most 12"),
        ({"strength": 99}, "less than or equal to 3"),
        ({"strength": None}, "strength"),
        ({"preset": "other"}, "no kind of comparison"),
        ({"seed": 1.5}, "`seed`"),
        ({"steps": 10**9}, "`steps`"),
        ({"pictures": 9}, "`pictures`"),
        ({"guidance_scale": "much"}, "`guidance_scale`"),
    ],
)
def test_what_cannot_be_drawn_is_said_beside_the_form_and_asks_for_nothing(
    page: ComparePage, root: Path, changes: dict[str, Any], said: str
) -> None:
    shown, trouble = page.ask(*astuple(replace(FILLED, **changes)))
    assert isinstance(shown, dict), "no comparison's name"
    assert said in trouble.replace("<code>", "`").replace("</code>", "`")
    assert not (root / "compare").exists()


def test_the_runs_own_previews_are_shown_at_once(root: Path) -> None:
    sheet = comparing.previews(root, FILLED)
    assert sheet is not None
    assert list(sheet.columns) == ["base", "taste"]
    assert [path.name for path in sheet.laid[0].pictures if path] == ["000000_00.webp", "000020_00.webp"]
    checkpoint = comparing.previews(root, replace(FILLED, left="taste@10", right="taste@20"))
    assert checkpoint is not None
    assert [path.name for path in checkpoint.laid[1].pictures if path] == ["000010_01.webp", "000020_01.webp"]


@pytest.mark.parametrize(
    "changes",
    [{"strength": 0.5}, {"style": "soft"}, {"preset": SWEEP}, {"right": "nobody"}, {"right": ""}, {"right": "taste@7"}],
)
def test_nothing_is_shown_at_once_that_was_not_drawn_so(root: Path, changes: dict[str, Any]) -> None:
    assert comparing.previews(root, replace(FILLED, **changes)) is None


def test_previews_of_two_runs_lie_on_each_other_only_with_one_seed(make_run: MakeRun) -> None:
    root = make_run("one").path.parent
    other = make_run("two")
    fields = replace(FILLED, left="one", right="two")
    assert comparing.previews(root, fields) is not None
    content = other.recipe_file.read_text(encoding="utf-8").replace("seed: 42", "seed: 43")
    other.recipe_file.write_text(content + "\n", encoding="utf-8")
    assert comparing.previews(root, fields) is None


def drawn(root: Path, count: int) -> tuple[Any, Any]:
    """A request of hostile prompts and words with so many of its pictures."""
    columns = [{"style": HOSTILE[:100]}, {"run": "taste"}]
    request = pin(root, check(columns=columns, prompts=[HOSTILE, "a dog"]))
    folder = Comparisons(root).ask(request.comparison)
    for cell in request.comparison.cells[:count]:
        Image.new("RGB", (8, 8)).save(folder.picture(request, cell))
    return folder, request


@pytest.mark.parametrize("count", [0, 1, 3, 4])
@pytest.mark.parametrize("status", [QUEUED, RUNNING, DONE, STOPPED, FAILED, INTERRUPTED])
def test_every_state_is_safe_html_without_inline_styles(page: ComparePage, root: Path, status: str, count: int) -> None:
    folder, request = drawn(root, count)
    sheet = comparing.drawn(folder, request)
    progress = Progress(status, HOSTILE)
    content = compare_markup.standing(progress, sheet) + compare_markup.slider(sheet) + compare_markup.grid(sheet)
    content += compare_markup.earlier([(folder, request)]) + compare_markup.take_along(folder)
    tags = Tags()
    tags.feed(content)
    assert "script" not in tags.seen
    assert "{{" not in content
    assert tags.seen.count("td") == 1 + 4
    assert tags.seen.count("option") == {3: 1, 4: 2}.get(count, 0)


def test_a_tick_reads_only_and_answers_at_once(page: ComparePage, root: Path) -> None:
    folder, _ = drawn(root, 4)
    folder.write_state(DONE)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    first = page.refresh(folder.name, {})
    assert all(isinstance(part, str) for part in first[: len(PARTS)])
    seconds, again = [], None
    for _ in range(20):
        began = time.thread_time()
        again = page.refresh(folder.name, first[-1])
        seconds.append(time.thread_time() - began)
    assert again == gr.skip()
    assert max(seconds) < 0.05
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_reload_rebuilds_fields_and_pictures_from_disk(page: ComparePage, root: Path) -> None:
    folder, _ = drawn(root, 4)
    loaded = page.load(SimpleNamespace(query_params={"show": folder.name}))  # type: ignore[arg-type]
    assert loaded[2] == folder.name
    assert f"{HOSTILE}\na dog" in loaded
    assert folder.name in loaded[1]
    gone = page.load(SimpleNamespace(query_params={"show": "0" * 16}))  # type: ignore[arg-type]
    assert gone[2] == ""
    assert any("not here any more" in str(part) for part in gone)


def test_a_fresh_page_shows_the_newest_run_or_says_what_is_missing(page: ComparePage, root: Path) -> None:
    loaded = page.load(SimpleNamespace(query_params={}))  # type: ignore[arg-type]
    assert any('data-key="base taste"' in str(part) for part in loaded)
    assert [value for _, value in comparing.choices(root)] == ["base", "taste", "taste@20"]
    for run in root.iterdir():
        shutil.rmtree(run)
    empty = page.load(SimpleNamespace(query_params={}))  # type: ignore[arg-type]
    assert "No run can be compared yet" in empty[0]


def test_stop_and_retry_take_no_other_names(page: ComparePage) -> None:
    for action in (page.end, page.draw_rest):
        assert "not here any more" in action("../taste")


def test_a_run_without_words_needs_a_style_word(make_run: MakeRun) -> None:
    run = make_run("plain")
    content = run.recipe().model_copy(update={"words": ()})
    run.recipe_file.write_text(content.to_yaml(), encoding="utf-8")
    with pytest.raises(UsageError, match="without words"):
        comparing.wanted(run.path.parent, replace(FILLED, right="plain", preset=WORDS))
