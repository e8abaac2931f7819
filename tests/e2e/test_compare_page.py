"""The Compare page in a real Chromium: pick, draw, look, come back; what was typed stays text."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page, expect
from real_studio import LONG, Studio, tiny_recipe

from toolkit import launch, recipe
from toolkit.run_folder import DONE, RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1500)]

HOSTILE = "<script>document.title='stolen'</script> {{value}} ${value}"


@pytest.fixture
def run(studio: Studio) -> RunFolder:
    """Two real updates on the demo world."""
    content = recipe.parse(yaml.safe_load(tiny_recipe(studio.runs.parent, "tiny", updates=2)))
    run = RunFolder.create(studio.runs, content)
    launch.start(run)
    deadline = time.monotonic() + LONG / 1000
    while run.state().is_active and time.monotonic() < deadline:
        time.sleep(0.5)
    assert run.state().status == DONE, run.log_file.read_text()[-3000:]
    return run


def draw(page: Page, columns: int, prompts: int) -> None:
    page.locator("#draw").click()
    page.wait_for_url("**/compare?show=*")
    expect(page.locator("#grid thead th")).to_have_count(columns, timeout=LONG)
    expect(page.locator("#grid .open img")).to_have_count(columns * prompts, timeout=LONG)
    expect(page.get_by_role("link", name="Download the sheet")).to_be_visible(timeout=LONG)


def test_an_empty_folder_says_what_will_be_here(
    studio: Studio, open_page: Callable[..., Page], errors: list[str], tmp_path: Path, screenshots: Callable[..., None]
) -> None:
    page = open_page()
    page.goto(f"{studio.url}/compare")
    expect(page.get_by_text("No run can be compared yet.")).to_be_visible()
    page.locator("#draw").click()
    expect(page.locator("#trouble")).to_contain_text("Nothing is chosen on the right.")
    page.goto(f"{studio.url}/compare?show=../../etc")
    expect(page.locator("#standing")).to_contain_text("This comparison is not here any more.")
    screenshots(tmp_path, {"compare-empty": "/compare"})
    assert errors == []


def test_from_a_runs_own_previews_to_a_sweep_of_ones_own_prompts(
    studio: Studio,
    run: RunFolder,
    open_page: Callable[..., Page],
    errors: list[str],
    tmp_path: Path,
    screenshots: Callable[..., None],
) -> None:
    page = open_page()
    page.goto(f"{studio.url}/compare")
    expect(page.locator("#prompts textarea")).to_have_value("a dog\na tiger face\na unicorn")
    page.locator("#right input").fill("tiny@2")  # its previews are shown at once, and nothing is drawn
    page.locator("#right input").press("Enter")
    expect(page.locator(".compare .side.right")).to_have_text("tiny @2")
    expect(page.locator(".compare figcaption")).to_contain_text("the run's previews")
    assert not (studio.runs / "compare").exists()

    page.locator("#prompts textarea").fill(f"a dog\n{HOSTILE}")
    page.get_by_text("All settings").click()
    page.get_by_role("spinbutton", name="Steps").fill("4")
    draw(page, columns=2, prompts=2)
    expect(page.locator("#grid tbody th").nth(1)).to_contain_text(HOSTILE)
    assert page.title() == "Compare · Palate"

    border = page.locator(".compare input[type=range]")
    border.focus()
    page.keyboard.press("ArrowRight")
    expect(border).to_have_value("51")
    page.get_by_role("button", name="Before only").click()
    expect(border).to_have_value("100")
    page.get_by_role("button", name="Zoom 1×").click()
    scales = page.locator(".compare .pictures img").evaluate_all(
        "all => all.map((each) => getComputedStyle(each).scale)"
    )
    assert scales == ["2", "2"]

    page.reload()
    expect(page.locator("#grid .open img")).to_have_count(4)
    expect(page.locator("#prompts textarea")).to_have_value(f"a dog\n{HOSTILE}")
    expect(page.locator("#grid tbody th").nth(1)).to_contain_text(HOSTILE)

    page.get_by_text("Strength sweep").click()
    page.locator("#prompts textarea").fill("a dog")
    draw(page, columns=6, prompts=1)
    expect(page.locator("#grid thead th").nth(1)).to_have_text("tiny @2 × 0.5")
    page.locator(".compare select[data-side=after]").select_option(label="tiny @2 × 1.5")
    expect(page.locator(".compare .side.right")).to_have_text("tiny @2 × 1.5")

    page.get_by_text("LoRA × style word").click()
    draw(page, columns=6, prompts=1)
    expect(page.locator("#grid thead")).to_contain_text("base + 3d render")
    page.get_by_text("Earlier comparisons").click()
    expect(page.locator("#earlier li")).not_to_have_count(0)
    screenshots(tmp_path, {"compare": page.url.removeprefix(studio.url)})
    assert errors == []
