"""A real Chromium; a real ComfyUI server in a process and a folder of its own, for each checkout in COMFYUI_PATH."""

from __future__ import annotations

import json
import os
import re
import shutil
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
from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).resolve().parent
PACK = HERE.parents[1] / "comfy_nodes"
CHECKOUTS = [Path(path) for path in os.environ.get("COMFYUI_PATH", "").split(os.pathsep) if path]
# "(IMPORT FAILED)" is a custom node; without brackets it is a part of core whose packages are not there.
TROUBLE = re.compile(
    r"lora key not loaded|NOT LOADED|Exception during processing|\(IMPORT FAILED\)|Error while calling"
)
READY = 240  # seconds, on a busy machine
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("These tests need Chromium: install the package `chromium`, so that `chromium` is on the PATH.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


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


def start(checkout: Path, folder: Path, front: Path | None = None) -> Server:
    """Ready to be asked; the pack is linked in, the test's own nodes are copied in. front: the page's files, if any."""
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
            "--disable-api-nodes", "--front-end-root", str(front or folder / "front"), "--base-directory", str(folder),
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


@pytest.fixture(scope="module")
def start_comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server; it ends with the module's tests."""
    started: list[Server] = []

    def start_comfyui(checkout: Path, front: Path | None = None) -> Server:
        started.append(start(checkout, tmp_path_factory.mktemp("comfyui"), front))
        return started[-1]

    yield start_comfyui
    for server in started:
        server.process.terminate()
        server.process.wait(30)


@pytest.fixture(params=CHECKOUTS, ids=lambda path: path.name, scope="module")
def server(request: pytest.FixtureRequest, start_comfyui: Callable[..., Server]) -> Server:
    return start_comfyui(request.param)
