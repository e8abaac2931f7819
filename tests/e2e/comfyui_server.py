"""A real ComfyUI server in a process of its own, on the CPU, in an empty folder with nothing but Palate's pack."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PACK = Path(__file__).parents[2] / "comfy_nodes"
PATIENCE = 400.0  # seconds, for a start or a workflow: a busy machine is no failure


@dataclass(frozen=True)
class Server:
    """Where it listens, its base folder (models, output) and what it has said."""

    address: str
    folder: Path
    log: Path

    def nodes(self) -> dict[str, Any]:
        """Every node with its sockets."""
        return httpx.get(f"{self.address}/object_info", timeout=60).json()

    def submit(self, workflow: dict[str, Any]) -> httpx.Response:
        """The answer to a workflow in API form."""
        return httpx.post(f"{self.address}/prompt", json={"prompt": workflow}, timeout=60)

    def run(self, workflow: dict[str, Any]) -> dict[str, list[Path]]:
        """Submit, wait, and return each output node's pictures."""
        answer = self.submit(workflow)
        assert answer.status_code == 200, answer.text
        number, deadline = answer.json()["prompt_id"], time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            done = httpx.get(f"{self.address}/history/{number}", timeout=60).json().get(number)
            if done:
                assert done["status"]["status_str"] == "success", json.dumps(done["status"])[-3000:]
                return {
                    node: [self.folder / "output" / image["subfolder"] / image["filename"] for image in found["images"]]
                    for node, found in done["outputs"].items()
                }
            time.sleep(0.2)
        raise TimeoutError(self.log.read_text(encoding="utf-8")[-3000:])


@contextmanager
def serve(checkout: Path, packages: str, folder: Path) -> Iterator[Server]:
    """Start `checkout` and wait until it answers; end it afterwards. `packages`: a folder that it may import from."""
    for name in ("custom_nodes", "models/loras", "input", "output", "user", "web"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "custom_nodes" / "palate").symlink_to(PACK, target_is_directory=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "main.py", "--cpu", "--port", str(port), "--base-directory", str(folder),
        "--disable-auto-launch", "--disable-api-nodes", "--front-end-root", str(folder / "web"),
        "--database-url", "sqlite:///:memory:",
    ]  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", folder, folder / "server.log")
    with server.log.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=checkout, env={**os.environ, "PYTHONPATH": packages}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(f"{server.address}/system_stats", timeout=5).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.5)
        else:
            return
    raise RuntimeError(f"ComfyUI did not start:\n{server.log.read_text(encoding='utf-8')[-3000:]}")
