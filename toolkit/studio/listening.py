"""Hears which language a visitor wants, and has every answer speak it: a thin layer around the app (ASGI)."""

from __future__ import annotations

import re
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolkit.studio import speech

LANG = re.compile(r'(<html\s+)lang="en"')


def wanted(headers: Headers) -> str:
    """The language chosen before, else the browser's best known one, else English."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(speech.COOKIE)
    except CookieError:
        cookie = None
    if cookie is not None and cookie.value in speech.LANGUAGES:
        return cookie.value
    for tag in _by_weight(headers.get("accept-language", "")):
        if (known := tag.partition("-")[0].lower()) in speech.LANGUAGES:
            return known
    return speech.ENGLISH


def _by_weight(accepted: str) -> list[str]:
    """The tags of an Accept-Language header, the most wanted first."""
    weighed = []
    for part in accepted.split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            weighed.append((float(weight or 1), tag.strip()))
        except ValueError:
            continue
    return [tag for weight, tag in sorted(weighed, key=lambda one: -one[0]) if weight > 0]


class Listening:
    """Around the app: its handlers speak the visitor's language, and built pages are said in it."""

    def __init__(self, app: ASGIApp) -> None:
        """app: the pages."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        language = wanted(Headers(scope=scope))
        with speech.speaking(language):
            await self._app(scope, receive, _Speaker(send, language, is_page=scope["path"].endswith("/config")))


class _Speaker:
    """Passes an answer on; one that is a page, or its configuration, waits until it is whole and is then said."""

    def __init__(self, send: Send, language: str, *, is_page: bool) -> None:
        self._send, self._language, self._is_page = send, language, is_page
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._is_page or Headers(raw=message["headers"]).get("content-type", "").startswith("text/html"):
                self._start = message
                return
        elif self._start is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if message.get("more_body", False):
                return
            body = self._said(self._body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            headers = MutableHeaders(raw=self._start["headers"])
            headers["content-length"] = str(len(body))
            headers["content-language"] = speech.TAGS[self._language]
            headers.add_vary_header("Cookie, Accept-Language")
            await self._send(self._start)
            message = {"type": "http.response.body", "body": body, "more_body": False}
        await self._send(message)

    def _said(self, content: str) -> str:
        tag = speech.TAGS[self._language]
        content = LANG.sub(rf'\1lang="{tag}" data-sent-in="{tag}"', content, count=1)
        return speech.spoken(content, self._language)
