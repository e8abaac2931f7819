"""The Studio in the browser: `python app.py`, then open the address it prints. Builds the pages and launches them."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import webbrowser
from pathlib import Path

import uvicorn

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

FIRST_PORT, PORTS = 7860, 100


def arguments() -> argparse.Namespace:
    """What was asked on the command line, with the environment's defaults."""
    from toolkit.run_folder import default_root
    from toolkit.studio.gate import LOCAL

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=default_root(), help="folder of all runs (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("GRADIO_SERVER_PORT"),
        help=f"default: {FIRST_PORT} or the next free one",
    )
    parser.add_argument(
        "--host", default=os.environ.get("GRADIO_SERVER_NAME", LOCAL[0]), help="default: this machine only"
    )
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask visitors for these; needed for any other host")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    asked = parser.parse_args()
    if asked.host not in LOCAL and ":" not in (asked.auth or ""):
        parser.error(f"--host {asked.host} lets others in: give --auth USER:PASSWORD too")
    return asked


def free_port(host: str, wanted: int | None) -> int:
    """The wanted port or the next free one; says so when it is another."""
    first = wanted or FIRST_PORT
    for port in range(first, first + PORTS):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name != "nt")
            try:
                probe.bind((host, port))
            except OSError:
                continue
        if port != first:
            print(f"Port {first} is taken; using {port}.", flush=True)
        return port
    sys.exit(f"No free port between {first} and {first + PORTS - 1}. Give another one with --port.")


class Server(uvicorn.Server):
    """Says where it listens once it does. Gradio's own gives a busy machine five seconds to come up, then ends."""

    def __init__(self, config: uvicorn.Config, root: Path, *, opens: bool) -> None:
        """root: the folder of all runs. opens: also in the browser."""
        super().__init__(config)
        self._root, self._opens = root, opens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            url = f"http://{host}:{self.config.port}"
            print(f"Palate Studio: {url}  (runs in {self._root}; Ctrl-C ends the Studio, not the runs)", flush=True)
            if self._opens:
                webbrowser.open(url)


def main() -> None:
    """Build and serve."""
    asked = arguments()
    from toolkit.studio import gate, pages

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what was started along with the pages ends too
    root = asked.runs.expanduser().resolve()
    root.mkdir(parents=True, exist_ok=True)
    auth = tuple(asked.auth.split(":", 1)) if asked.auth else None
    app = gate.Gate(pages.served(root, auth), root, None if auth else {*gate.LOCAL, asked.host})
    port = free_port(asked.host, asked.port)
    config = uvicorn.Config(app, asked.host, port, log_level="warning", timeout_graceful_shutdown=1)
    Server(config, root, opens=asked.open).run()


if __name__ == "__main__":
    main()
