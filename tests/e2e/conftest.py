"""A real ComfyUI server for each checkout in COMFYUI_PATH, and a real Studio with a real browser before it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from toolkit import launch
from toolkit.run_folder import all_runs

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACK = ROOT / "comfy_nodes"
CHECKOUTS = [Path(path) for path in os.environ.get("COMFYUI_PATH", "").split(os.pathsep) if path]
# "(IMPORT FAILED)" is a custom node; without brackets it is a part of core whose packages are not there.
TROUBLE = re.compile(
    r"lora key not loaded|NOT LOADED|Exception during processing|\(IMPORT FAILED\)|Error while calling"
)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip
WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}
READY = 240  # seconds, on a busy machine


@dataclass
class Server:
    """Where it listens and what it wrote."""

    url: str
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def submit(self, graph: dict[str, Any]) -> dict[str, Any]:
        """The server's answer to a graph in API form; a refusal is an answer, too."""
        body = json.dumps({"prompt": graph}).encode()
        request = urllib.request.Request(f"{self.url}/prompt", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            return json.load(refusal)

    def run(self, graph: dict[str, Any]) -> dict[str, Any]:
        """The history's entry of a graph, once it ended."""
        answer = self.submit(graph)
        assert "prompt_id" in answer, answer
        for _ in range(2400):
            history = self.get(f"/history/{answer['prompt_id']}")
            if history:
                return history[answer["prompt_id"]]
            assert self.process.poll() is None, self.text()[-3000:]
            time.sleep(0.1)
        raise AssertionError("the graph did not end")

    def outputs(self, graph: dict[str, Any]) -> dict[str, Any]:
        """What each node showed, after a run without trouble."""
        done = self.run(graph)
        assert done["status"]["status_str"] == "success", done["status"]["messages"]
        assert not TROUBLE.search(self.text()), self.text()[-3000:]
        return done["outputs"]

    def refused(self, graph: dict[str, Any]) -> str:
        """The sentence with which a node ended a run; the log is begun anew."""
        done = self.run(graph)
        (message,) = [about for kind, about in done["status"]["messages"] if kind == "execution_error"]
        self.log.write_bytes(b"")
        return message["exception_message"].strip()

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def start(checkout: Path, folder: Path) -> Server:
    """Ready to be asked; the pack is linked in, the test's own nodes are copied in."""
    for name in ("user", "custom_nodes", "models/loras", "output", "front"):
        (folder / name).mkdir(parents=True)
    (folder / "custom_nodes" / "palate").symlink_to(PACK)
    shutil.copytree(HERE / "comfyui_test_nodes", folder / "custom_nodes" / "testing")
    shutil.copy(HERE / "comfyui_probe.py", folder / "custom_nodes" / "testing")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": os.environ.get("COMFYUI_PACKAGES", "")}
    environment.pop("PYTHONSAFEPATH", None)
    log = folder / "log.txt"
    process = subprocess.Popen(
        [
            sys.executable, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch",
            "--disable-api-nodes", "--front-end-root", str(folder / "front"), "--base-directory", str(folder),
            "--database-url", f"sqlite:///{folder}/user/comfyui.db",
        ],
        cwd=checkout, env=environment, stdout=log.open("ab"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", folder, log, process)
    for _ in range(READY * 2):
        assert process.poll() is None, server.text()[-3000:]
        try:
            server.get("/system_stats")
        except OSError:
            time.sleep(0.5)
        else:
            return server
    process.kill()
    raise AssertionError(f"no answer after {READY} s: {server.text()[-3000:]}")


@pytest.fixture(params=CHECKOUTS, ids=lambda path: path.name, scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = start(request.param, tmp_path_factory.mktemp("comfyui"))
    yield started
    started.process.terminate()
    started.process.wait(30)


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
    """A fresh visitor's page of that size and colour scheme."""
    contexts = []

    def open_page(size: str = "desktop", scheme: str = "light") -> Any:
        width, height = WIDTHS[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
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
