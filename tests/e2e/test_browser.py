"""From opening the Studio to a downloaded LoRA in a real Chromium; and what a killed Studio leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect
from safetensors import safe_open

from toolkit import launch
from toolkit.run_folder import DONE, RunFolder, all_runs

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]
expect.set_options(timeout=120_000)  # the machine may be busy
WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}
LONG = 400_000  # milliseconds a tiny run or a measurement may take on a busy machine


class Studio:
    """`python app.py` as a process of its own, on a free port, over one folder of runs."""

    def __init__(self, runs: Path) -> None:
        self.runs, self.port = runs, launch.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = (runs.parent / "studio.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [sys.executable, str(ROOT / "app.py"), "--runs", str(self.runs), "--port", str(self.port)]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads that wait for each other crawl on a busy machine
        self.process = subprocess.Popen(
            arguments, cwd=self.runs.parent, env=one_thread, stdout=self.log, stderr=self.log
        )
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None, (self.runs.parent / "studio.log").read_text()[-3000:]
                time.sleep(0.3)
        pytest.fail("The Studio did not answer within five minutes.")

    def end(self, signal_number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal_number)
            self.process.wait(timeout=30)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    (tmp_path / "runs").mkdir()
    studio = Studio(tmp_path / "runs")
    studio.start()
    yield studio
    studio.end()
    studio.log.close()
    for run in all_runs(studio.runs):
        launch.send(run, signal.SIGKILL)


@pytest.fixture
def errors() -> list[str]:
    """What the browser's console complained about."""
    return []


@pytest.fixture
def open_page(browser: Browser, errors: list[str]) -> Iterator[Callable[..., Page]]:
    contexts = []

    def open_page(size: str = "desktop", scheme: str = "light") -> Page:
        width, height = WIDTHS[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(120_000)
        return page

    yield open_page
    for context in contexts:
        context.close()


def tiny_recipe(folder: Path, name: str, updates: int) -> str:
    """A few updates on four validation prompts: seconds, not minutes."""
    prompts = folder / "four.txt"
    prompts.write_text("a dog\na tiger face\na unicorn\na deer\n", encoding="utf-8")
    tree = yaml.safe_load((ROOT / "recipes" / "demo.yaml").read_text(encoding="utf-8"))
    tree["name"] = name
    tree["method"] |= {"rollout_steps": 4}
    tree["prompts"] = {"validation": str(prompts)}
    tree["training"] |= {"updates": updates, "batch_size": 2}
    tree["validation"] |= {"every": 2, "steps": 4, "previews": 4, "patience": updates}
    return yaml.safe_dump(tree, sort_keys=False)


def type_recipe(page: Page, content: str) -> None:
    page.get_by_text("All settings").click()
    editor = page.locator("#yaml .cm-content")
    editor.click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(content)


def start_run(page: Page, studio: Studio, name: str, updates: int) -> None:
    page.goto(studio.url)
    expect(page.get_by_role("heading", name="Teach a taste")).to_be_visible()
    type_recipe(page, tiny_recipe(studio.runs.parent, name, updates))
    expect(page.get_by_role("spinbutton", name="Updates")).to_have_value(str(updates))  # the field follows the YAML
    page.locator("#start").dblclick()
    page.wait_for_url(f"**/run?run={name}")


def screenshots(open_page: Callable[..., Page], studio: Studio, folder: Path, pages: dict[str, str]) -> None:
    for size in WIDTHS:
        for scheme in ("light", "dark"):
            page = open_page(size, scheme)
            for name, path in pages.items():
                page.goto(studio.url + path)
                expect(page.locator("h1")).to_be_visible()
                page.wait_for_timeout(1500)
                page.screenshot(path=folder / f"{name}-{WIDTHS[size][0]}-{scheme}.png", full_page=True)
                widest = page.evaluate("document.documentElement.scrollWidth")
                assert widest <= WIDTHS[size][0], f"{name} is {widest} px wide on a {size}"


def test_from_opening_the_page_to_a_downloaded_lora(
    studio: Studio, open_page: Callable[..., Page], errors: list[str], tmp_path: Path
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
    screenshots(open_page, studio, tmp_path, {"start": "/", "runs": "/runs", "run": "/run?run=tiny"})
    assert errors == []


def test_a_killed_studio_leaves_the_run_alone_and_shows_it_after_a_restart(
    studio: Studio, open_page: Callable[..., Page], errors: list[str]
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
    studio: Studio, open_page: Callable[..., Page], errors: list[str]
) -> None:
    page = open_page()
    start_run(page, studio, "stopped", updates=60)
    expect(page.locator("#grid thead th").nth(1)).to_be_visible(timeout=LONG)  # the first check after the base
    page.locator("#stop").click()
    expect(page.locator("#confirm")).to_contain_text("best checkpoint")
    page.locator("#stop-yes").click()
    expect(page.locator(".run-state")).to_contain_text("stopped", timeout=LONG)
    page.locator("#resume").click()
    expect(page.locator(".run-state")).to_contain_text("running", timeout=LONG)
    run = RunFolder(studio.runs / "stopped")
    os.kill(run.state().pid, signal.SIGKILL)
    expect(page.locator(".run-state")).to_contain_text("interrupted")
    expect(page.locator(".run-head")).to_contain_text("Interrupted at update")
    assert errors == []
