"""What stands before Gradio: whom it answers, how much it takes, and which files it hands out. Knows no page.

Gradio itself answers whoever reaches the port: another web page in the same browser (it sends the request and merely
keeps the answer from that page), a foreign name that was made to point here, and links that lead out of the runs.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

OPENED = uuid.uuid4().hex.encode()  # this very Studio: a page that knew another one loads itself again
LOCAL = ("127.0.0.1", "localhost", "::1")
MOST_BYTES = 1_000_000  # of a request; the longest recipe is far below
TOO_MUCH = (413, "That is more than a page ever sends.")
API = "/gradio_api/"
USED = ("file=", "heartbeat/", "run/", "info", "login_check", "startup-events", "theme.css")  # of Gradio's API
# Gradio needs inline scripts and `eval`. Nothing is loaded from elsewhere, and no other page frames this one.
PAGE_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
FILE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"  # a file of a run never runs as a page

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Gate:
    """An ASGI app around another."""

    def __init__(self, app: App, root: Path, names: Iterable[str] | None) -> None:
        """root: the folder of all runs. names: hosts it answers to; None: any, for an app that asks for a login."""
        self._app, self._root = app, root.resolve()
        self._names = None if names is None else frozenset(names)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":  # no page opens a web socket
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refused := self._refused(scope, headers):
            await _answer(send, *refused)
            return
        body = await _body(receive)
        if body is None:
            await _answer(send, *TOO_MUCH)
            return
        policy = FILE_POLICY if scope["path"].startswith(f"{API}file=") else PAGE_POLICY
        await self._app(scope, _again(body, receive), _dressed(send, policy))

    def _refused(self, scope: Message, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and sentence, or None."""
        host, path = headers.get("host", ""), scope["path"]
        if self._names is not None and _name(host) not in self._names:
            return 403, "The Studio answers on this computer's own address alone. For others, start it with --auth."
        if not _is_own(scope["method"], host, headers):
            return 403, "Another web page asked. Open the Studio's address yourself."
        if path.startswith(API) and not path.startswith(tuple(API + used for used in USED)):
            return 404, "The Studio does not use this part of Gradio."
        if path.startswith(f"{API}file=") and not self._is_of_a_run(path.removeprefix(f"{API}file=")):
            return 403, "This is no file of a run."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18 or int(length) > MOST_BYTES:
            return TOO_MUCH
        return None

    def _is_of_a_run(self, place: str) -> bool:
        """Whether it lies in a folder below the runs' own, wherever links lead; what lies beside those is not shown."""
        try:
            inner = Path(place).resolve(strict=True).relative_to(self._root)
        except (OSError, ValueError, RuntimeError):
            return False
        return len(inner.parts) > 1 and not any(part.startswith(".") for part in inner.parts)


def _name(host: str) -> str:
    """The host without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_own(method: str, host: str, headers: dict[str, str]) -> bool:
    """Whether the request comes from this very page, from the address line or a link, or from no browser."""
    site = headers.get("sec-fetch-site")
    if site in ("same-origin", "none"):
        return True
    if site is not None:
        return method == "GET" and (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
            "navigate",
            "document",
        )
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == host


async def _body(receive: Receive) -> bytes | None:
    """All of a request's body, or None as soon as it is too much."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BYTES:
            return None
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """What was read, to be read once more."""
    kept = [body]

    async def again() -> Message:
        return {"type": "http.request", "body": kept.pop()} if kept else await receive()

    return again


def _dressed(send: Send, policy: str) -> Send:
    """Answers that browsers handle with care."""
    careful = [
        (b"content-security-policy", policy.encode()),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"same-origin"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-palate-opened", OPENED),
    ]

    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *careful]
        await send(message)

    return dressed


async def _answer(send: Send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
