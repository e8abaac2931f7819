"""The serving side of the scoring protocol, version 1, in the standard library alone: copy this file, it needs nothing.

    arguments = options(__doc__).parse_args()
    serve({"name": ..., "version": ..., ...}, score, arguments.port)

`score(pictures, prompts)` returns the answer itself: {"scores": [one per picture]}, and "dimensions" where there are
any. It raises `Refused` with a sentence for what it cannot score. One question is answered at a time.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROTOCOL = 1
PORT = 8765
MEDIA_TYPE = "application/x-safetensors"
MAX_BYTES = 2**31


class Refused(Exception):
    """A question that asking again will not improve. Its sentence goes back with status 400."""


@dataclass(frozen=True)
class Pictures:
    """float32 pictures [B, 3, H, W] or videos [B, F, 3, H, W] in [0, 1]; `data` is little-endian, row-major."""

    shape: tuple[int, ...]
    data: bytes

    def array(self) -> Any:
        """As a NumPy array of that shape."""
        import numpy

        return numpy.frombuffer(self.data, "<f4").reshape(self.shape)

    def frames(self) -> list[list[Any]]:
        """As PIL pictures: B lists, of one frame each where they are not videos."""
        from PIL import Image

        pixels = (self.array().clip(0, 1) * 255).round().astype("uint8").reshape(len(self), -1, *self.shape[-3:])
        return [[Image.fromarray(frame.transpose(1, 2, 0)) for frame in video] for video in pixels]

    def __len__(self) -> int:
        """B."""
        return self.shape[0]


Score = Callable[[Pictures, "list[str]"], "Mapping[str, Any]"]


def decode(body: bytes) -> tuple[Pictures, list[str]]:
    """The pictures and prompts of a question: one safetensors file, whose metadata holds the JSON part.

    Raises Refused when it is something else.
    """
    try:
        (length,) = struct.unpack("<Q", body[:8])
        header = json.loads(body[8 : 8 + length])
        question = json.loads(header["__metadata__"]["palate"])
        version, prompts, tensor = question["protocol"], question["prompts"], header["pictures"]
        shape, (begin, end) = tuple(tensor["shape"]), tensor["data_offsets"]
        data = body[8 + length + begin : 8 + length + end]
        is_sound = tensor["dtype"] == "F32" and len(data) == 4 * math.prod(shape)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        raise Refused("The question is not a safetensors file with `pictures` and `palate` metadata.") from None
    if version != PROTOCOL:
        raise Refused(f"The question speaks version {version} of the protocol; this scorer speaks {PROTOCOL}.")
    if not is_sound or len(shape) not in (4, 5) or shape[-3] != 3 or not math.prod(shape):
        raise Refused(f"Pictures must be F32 [B, 3, H, W] or [B, F, 3, H, W], not {tensor['dtype']} {list(shape)}.")
    if len(prompts) != shape[0] or not all(isinstance(prompt, str) for prompt in prompts):
        raise Refused(f"{shape[0]} pictures need {shape[0]} prompts.")
    return Pictures(shape, data), prompts


def answer(body: bytes, describe: Mapping[str, Any], score: Score) -> tuple[int, Mapping[str, Any]]:
    """Status and reply to a question."""
    try:
        pictures, prompts = decode(body)
        if len(pictures.shape) == 5 and not describe["accepts_video"]:
            raise Refused(f"{describe['name']} scores single pictures, not videos.")
        if len(pictures) > describe["max_batch"]:
            raise Refused(f"{describe['name']} takes at most {describe['max_batch']} pictures at once.")
        reply = score(pictures, prompts)
        rows = [reply["scores"], *reply.get("dimensions", {}).values()]
        if not all(math.isfinite(number) for row in rows for number in row):
            raise Refused(f"{describe['name']} found a score that is not a number.")
    except Refused as refusal:
        return 400, {"error": str(refusal)}
    except Exception as problem:  # noqa: BLE001  whatever a model raises, the one who waits is told
        traceback.print_exc()
        return 500, {"error": f"{describe['name']} failed: {type(problem).__name__}: {problem}"}
    return 200, reply


def _handler(describe: Mapping[str, Any], score: Score) -> type[BaseHTTPRequestHandler]:
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/describe":
                self._reply(200, {"protocol": PROTOCOL, **describe})
            else:
                self._reply(404, {"error": "Ask GET /describe or POST /score."})

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.path != "/score":
                self._refuse(404, "Ask GET /describe or POST /score.")
            elif self.headers.get("Content-Type") != MEDIA_TYPE:  # which no web page can send unasked
                self._refuse(415, f"A question is sent as {MEDIA_TYPE}.")
            elif not length.isdecimal() or int(length) > MAX_BYTES:
                self._refuse(413, f"A question says its length, {MAX_BYTES} bytes at most.")
            else:
                body = self.rfile.read(int(length))
                with turn:
                    status, reply = answer(body, describe, score)
                self._reply(status, reply)

        def _refuse(self, status: int, sentence: str) -> None:
            self.close_connection = True  # its body was not read
            self._reply(status, {"error": sentence})

        def _reply(self, status: int, content: Mapping[str, Any]) -> None:
            body = json.dumps(content, allow_nan=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Questions are too many to be told."""

    return Handler


def options(description: str | None = None) -> argparse.ArgumentParser:
    """The command line of a scorer: `--port`, and what it adds itself."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=PORT)
    return parser


def serve(describe: Mapping[str, Any], score: Score, port: int) -> None:
    """Answer on this machine's loopback address until stopped. Exits with a sentence when the port is taken."""
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(describe, score))
    except OSError as problem:
        sys.exit(f"Port {port} of this machine cannot be used: {problem.strerror}. Choose another with --port.")
    with server:
        server.daemon_threads = True
        print(f"Serving {describe['name']} at http://127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("Stopped.", flush=True)
