"""Real servers for end-to-end tests: ComfyUI for each checkout that `real_comfyui` knows, the Studio with a browser."""

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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from real_comfyui import CHECKOUTS, PACKAGES
from real_studio import browser, errors, open_page, screenshots, studio  # noqa: F401  (fixtures)

from toolkit.demo_export import export

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACK = ROOT / "comfy_nodes"
# "(IMPORT FAILED)" is a custom node; without brackets it is a part of core whose packages are not there.
TROUBLE = re.compile(
    r"lora key not loaded|NOT LOADED|Exception during processing|\(IMPORT FAILED\)|Error while calling"
)
TRAINING = {
    "training.updates": 4,
    "validation.every": 4,
    "validation.steps": 4,
    "optimizer.learning_rate": 2e-3,
    "optimizer.warmup_updates": 0,
}  # fmt: skip  (few but large updates: the pictures must differ from the base's)
READY, ENDED = 600, 1200  # seconds, on a busy machine: until the first answer, and for one graph


@dataclass
class Server:
    """Where it listens and what it wrote."""

    url: str
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]
    checkout: Path

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
        for _ in range(ENDED * 10):
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
    environment = {**os.environ, "PYTHONPATH": PACKAGES}
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
    server = Server(f"http://127.0.0.1:{port}", folder, log, process, checkout)
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


@contextmanager
def running(checkout: Path, folder: Path, front: Path | None = None) -> Iterator[Server]:
    """A server from its first answer to its end."""
    started = start(checkout, folder, front)
    yield started
    started.process.terminate()
    started.process.wait(30)


@pytest.fixture(scope="session")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of a few updates, trained by the command that a creator types."""
    folder = tmp_path_factory.mktemp("run")
    settings = [part for name, value in TRAINING.items() for part in ("--set", f"{name}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "toolkit.cli", "train", "demo", *settings],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "runs" / "3d-render" / "lora" / "3d-render.safetensors"


@pytest.fixture(scope="module")
def stocked(server: Server, lora: Path) -> Server:
    """The server with the Demo World and the LoRA in its folders."""
    (server.folder / "models" / "loras" / "taste.safetensors").write_bytes(lora.read_bytes())
    export(server.folder)
    return server


@pytest.fixture(params=CHECKOUTS, ids=lambda path: path.name, scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(request.param, tmp_path_factory.mktemp("comfyui")) as started:
        yield started


@pytest.fixture(params=CHECKOUTS, ids=lambda path: path.name)
def fresh_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """One for a single test, whose models must leave memory."""
    with running(request.param, tmp_path / "comfyui") as started:
        yield started


@pytest.fixture(scope="module")
def start_comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server with these page files; it ends with the module's tests."""
    with ExitStack() as open_servers:
        yield lambda checkout, front=None: open_servers.enter_context(
            running(checkout, tmp_path_factory.mktemp("comfyui"), front)
        )
