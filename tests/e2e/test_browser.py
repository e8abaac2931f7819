"""From opening the Studio to a downloaded LoRA in a real Chromium; and what a killed Studio leaves behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from real_studio import LONG, Studio, start_run, tiny_recipe, type_recipe
from safetensors import safe_open

from toolkit.run_folder import DONE, RunFolder, all_runs

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]


def test_from_opening_the_page_to_a_downloaded_lora(
    studio: Any, open_page: Callable[..., Page], errors: list[str], tmp_path: Path, screenshots: Callable[..., None]
) -> None:
    page = open_page()
    page.goto(studio.url)
    page.get_by_text("3d render / flat icon").click()
    expect(page.get_by_label("Less like")).to_have_value("flat icon")
    expect(page.locator("#separation")).to_contain_text("tells them apart: ", timeout=LONG)

    page.get_by_label("More like").fill("")
    page.get_by_label("More like").press_sequentially("flat icon")  # both words alike: said at once, beside the form
    expect(page.locator("#trouble")).to_contain_text("must differ")
    page.locator("#start").click()
    expect(page.locator("#trouble")).to_contain_text("must differ")
    expect(page.get_by_label("More like")).to_have_value("flat icon")
    assert all_runs(studio.runs) == []

    start_run(page, studio, "tiny", updates=4)
    assert [run.name for run in all_runs(studio.runs)] == ["tiny"], "a double click started more than one run"
    expect(page.locator(".run-state")).to_contain_text("done", timeout=LONG)
    expect(page.locator("#grid thead th")).to_have_count(3)  # base, 2, 4
    expect(page.locator("#grid tbody tr")).to_have_count(4)
    border = page.locator(".compare input[type=range]")
    expect(page.locator(".compare .after")).to_be_visible()
    border.focus()
    page.keyboard.press("ArrowRight")
    expect(border).to_have_value("51")

    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download LoRA").click()
    path = tmp_path / downloading.value.suggested_filename
    downloading.value.save_as(path)
    assert path.name == "tiny.safetensors"
    with safe_open(path, framework="numpy") as file:
        assert len(list(file.keys())) > 0
        assert "palate" in file.metadata()

    page.locator("#grid .open").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("base")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog")).to_contain_text("update 2")
    page.keyboard.press("Escape")

    page.reload()
    expect(page.locator(".run-state")).to_contain_text("done")
    expect(page.locator(".compare .after")).to_be_visible()
    page.get_by_role("link", name="Runs").click()
    expect(page.locator(".run-name")).to_contain_text("tiny")  # not the blank cards that wait for the list
    screenshots(tmp_path, {"start": "/", "runs": "/runs", "run": "/run?run=tiny"})
    assert errors == []


def test_a_killed_studio_leaves_the_run_alone_and_shows_it_after_a_restart(
    studio: Any, open_page: Callable[..., Page], errors: list[str]
) -> None:
    page = open_page()
    start_run(page, studio, "outlives", updates=6)
    run = RunFolder(studio.runs / "outlives")
    page.close()
    studio.end(signal.SIGKILL)
    assert run.state().is_active, "the run died with the Studio"
    deadline = time.monotonic() + LONG / 1000
    while run.state().is_active and time.monotonic() < deadline:
        time.sleep(0.5)
    assert run.state().status == DONE, run.log_file.read_text()[-3000:]

    studio.start()
    page = open_page()
    page.goto(f"{studio.url}/run?run=outlives")
    expect(page.locator(".run-state")).to_contain_text("done")
    expect(page.get_by_role("link", name="Download LoRA")).to_be_visible()
    assert errors == []


def test_stop_asks_says_what_is_kept_and_resume_goes_on(
    studio: Any, open_page: Callable[..., Page], errors: list[str]
) -> None:
    page = open_page()
    start_run(page, studio, "stopped", updates=60)
    expect(page.locator("#grid thead th").nth(1)).to_be_visible(timeout=LONG)  # the first check after the base
    run = RunFolder(studio.runs / "stopped")
    page.locator("#sample").click()
    page.locator("#save").click()
    deadline = time.monotonic() + LONG / 1000
    while any(file.exists() for file in run.wishes.values()) and time.monotonic() < deadline:
        time.sleep(0.2)
    answered = {event["update"] for kind in ("sample", "save", "check") for event in run.events(kind)}
    assert answered & set(run.checkpoint_updates()) - {0}
    page.locator("#stop").click()
    expect(page.locator("#confirm")).to_contain_text("best checkpoint")
    page.locator("#stop-yes").click()
    expect(page.locator(".run-state")).to_contain_text("stopped", timeout=LONG)
    page.locator("#resume").click()
    expect(page.locator(".run-state")).to_contain_text("running", timeout=LONG)
    os.kill(run.state().pid, signal.SIGKILL)
    expect(page.locator(".run-state")).to_contain_text("interrupted")
    expect(page.locator(".run-head")).to_contain_text("Interrupted at update")
    assert errors == []


def queue_run(page: Page, studio: Studio, name: str, updates: int, said: str) -> None:
    page.goto(studio.url)
    expect(page.get_by_role("heading", name="Teach a taste")).to_be_visible()
    type_recipe(page, tiny_recipe(studio.runs.parent, name, updates))
    expect(page.get_by_role("spinbutton", name="Updates")).to_have_value(str(updates))
    page.locator("#queue").dblclick()
    expect(page.locator("#trouble")).to_contain_text(f"{name} {said}")


def test_runs_are_queued_reordered_cancelled_and_the_last_one_ends_well(
    studio: Studio, open_page: Callable[..., Page], errors: list[str]
) -> None:
    page = open_page()
    queue_run(page, studio, "first", 60, "has started")
    queue_run(page, studio, "second", 2, "is #1 in line")
    queue_run(page, studio, "third", 2, "is #2 in line")
    assert len(all_runs(studio.runs)) == 3, "a double click queued a run twice"

    page.get_by_role("link", name="Runs", exact=True).click()
    names = page.locator(".run-name a")
    expect(names).to_have_text(["first", "second", "third"])
    page.get_by_role("button", name="Earlier: third").click()
    expect(names).to_have_text(["first", "third", "second"])
    expect(page.get_by_role("button", name="Earlier: third")).to_be_disabled()

    card = {
        name: page.locator(".run-card", has=page.locator(f'[data-key="open-{name}"]')) for name in ("first", "third")
    }
    expect(card["first"]).to_contain_text("running", timeout=LONG)
    page.reload()  # in the middle of the run
    expect(names).to_have_text(["first", "third", "second"])
    page.get_by_role("button", name="Cancel: third").click()
    expect(card["third"]).to_contain_text("Cancelled before it started.")

    page.get_by_label("Cancel: first").click()
    page.get_by_role("button", name="Cancel this run: first").click()
    expect(card["first"]).to_contain_text("cancelled", timeout=LONG)
    page.get_by_label("Search").fill("second")
    expect(names).to_have_text(["second"])
    expect(page.locator(".run-card")).to_contain_text("done", timeout=LONG)
    page.get_by_label("Search").fill("no such run")
    expect(page.locator("#runs")).to_contain_text("No run fits")
    assert not (studio.runs / "third" / "events.jsonl").exists()
    assert errors == []
