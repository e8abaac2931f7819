"""A real Studio in a process of its own, and a real Chromium before it: fixtures of the end-to-end tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import expect

from toolkit import launch
from toolkit.run_folder import all_runs

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip
LONG = 400_000  # milliseconds a tiny run or a measurement may take on a busy machine
expect.set_options(timeout=120_000)  # the machine may be busy
WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}


class Studio:
    """`python app.py` as a process of its own, on a free port, over one folder of runs."""

    def __init__(self, runs: Path, *more: str) -> None:
        self.runs, self.port, self.more = runs, launch.free_port(), more
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = (runs.parent / "studio.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [
            sys.executable,
            str(ROOT / "app.py"),
            "--runs",
            str(self.runs),
            "--port",
            str(self.port),
            *self.more,
        ]
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
    """One over an empty folder; its runs end with it."""
    (tmp_path / "runs").mkdir()
    studio = Studio(tmp_path / "runs")
    studio.start()
    yield studio
    studio.end()
    studio.log.close()
    for run in all_runs(studio.runs):
        launch.send(run, signal.SIGKILL)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium."""
    from playwright.sync_api import sync_playwright

    path = next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("These tests need Chromium: install the package `chromium`, so that `chromium` is on the PATH.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def errors() -> list[str]:
    """What the browser's console complained about."""
    return []


@pytest.fixture
def open_page(browser: Any, errors: list[str]) -> Iterator[Callable[..., Any]]:
    """A fresh visitor's page of that size, colour scheme and language."""
    contexts = []

    def open_page(size: str = "desktop", scheme: str = "light", locale: str = "en-US") -> Any:
        width, height = WIDTHS[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, locale=locale, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(120_000)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def screenshots(open_page: Callable[..., Any], studio: Studio) -> Callable[..., None]:
    """Every page in both sizes and colour schemes; none may be wider than its screen."""

    def screenshots(folder: Path, pages: dict[str, str]) -> None:
        for size in WIDTHS:
            for scheme in ("light", "dark"):
                page = open_page(size, scheme)
                for name, path in pages.items():
                    page.goto(studio.url + path)
                    page.locator("h1").wait_for()
                    page.wait_for_timeout(1500)
                    page.screenshot(path=folder / f"{name}-{WIDTHS[size][0]}-{scheme}.png", full_page=True)
                    widest = page.evaluate("document.documentElement.scrollWidth")
                    assert widest <= WIDTHS[size][0], f"{name} is {widest} px wide on a {size}"

    return screenshots


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
    if updates > 10:
        tree["optimizer"] = {"learning_rate": 1e-6}  # or a guard ends it before the test does
    return yaml.safe_dump(tree, sort_keys=False)


def type_recipe(page: Any, content: str) -> None:
    page.get_by_text("All settings").click()
    editor = page.locator("#yaml .cm-content")
    editor.click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(content)


def start_run(page: Any, studio: Studio, name: str, updates: int) -> None:
    page.goto(studio.url)
    expect(page.get_by_role("heading", name="Teach a taste")).to_be_visible()
    type_recipe(page, tiny_recipe(studio.runs.parent, name, updates))
    expect(page.get_by_role("spinbutton", name="Updates")).to_have_value(str(updates))  # the field follows the YAML
    page.locator("#start").dblclick()
    page.wait_for_url(f"**/run?run={name}")
