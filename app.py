"""The Studio in the browser: `python app.py`, then open the address it prints. Builds the pages and launches them."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

FIRST_PORT, PORTS = 7860, 100
LOCAL = ("127.0.0.1", "localhost", "::1")


def arguments() -> argparse.Namespace:
    """What was asked on the command line, with the environment's defaults."""
    from toolkit.run_folder import default_root

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


def main() -> None:
    """Build and launch."""
    asked = arguments()
    from toolkit.studio import pages

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what was started along with the pages ends too
    root = asked.runs.expanduser().resolve()
    root.mkdir(parents=True, exist_ok=True)
    port = free_port(asked.host, asked.port)
    print(
        f"Palate Studio: http://{asked.host}:{port}  (runs in {root}; Ctrl-C ends the Studio, not the runs)", flush=True
    )
    pages.build(root).launch(
        server_name=asked.host,
        server_port=port,
        auth=tuple(asked.auth.split(":", 1)) if asked.auth else None,
        share=False,
        inbrowser=asked.open,
        quiet=True,
        allowed_paths=[str(root)],
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
        max_file_size="1mb",
        app_kwargs=pages.APP,
        **pages.look(),
    )


if __name__ == "__main__":
    main()
