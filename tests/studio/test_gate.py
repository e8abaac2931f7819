"""The gate by itself: whom it lets through to the app behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from toolkit.studio.gate import MOST_BYTES, Gate


async def app(scope: Any, receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(
    gate: Gate, path: str = "/runs", chunks: tuple[bytes, ...] = (b"",), method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    sent: list[dict[str, Any]] = []
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    named = {"host": "localhost:1", **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    asyncio.run(gate({"type": "http", "method": method, "path": path, "headers": raw}, receive, send))
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, sent[1]["body"]


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.txt").write_text("log")
    (tmp_path / "queue.sqlite").write_text("queue")
    return Gate(app, tmp_path, ("localhost", "::1"))


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("LOCALHOST:7860", 200), ("[::1]:7860", 200), ("evil", 403), ("", 403), ("[", 403)],
)
def test_it_answers_to_its_own_names_alone(gate: Gate, host: str, status: int) -> None:
    assert ask(gate, host=host)[0] == status


def test_with_a_login_any_name_will_do_but_no_other_site(tmp_path: Path) -> None:
    gate = Gate(app, tmp_path, None)
    assert ask(gate, host="studio.example", origin="https://studio.example")[0] == 200
    assert ask(gate, host="studio.example", origin="https://evil.example")[0] == 403


def test_a_link_from_elsewhere_opens_a_page_and_posts_nothing(gate: Gate) -> None:
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert ask(gate, **link)[0] == 200
    assert ask(gate, method="POST", **link)[0] == 403


def test_bodies_arrive_whole_or_not_at_all(gate: Gate) -> None:
    assert ask(gate, chunks=(b"ab", b"", b"c"), method="POST")[2] == b"abc"
    assert ask(gate, chunks=(b"x" * MOST_BYTES, b"x"), method="POST")[0] == 413
    assert [ask(gate, content_length=length)[0] for length in ("-1", "x", "9" * 30, str(MOST_BYTES + 1))] == [413] * 4


def test_files_come_from_within_a_run_and_run_nothing(gate: Gate, tmp_path: Path) -> None:
    status, headers, _ = ask(gate, f"/gradio_api/file={tmp_path}/run/log.txt")
    assert (status, headers["content-security-policy"].split(";")[0]) == (200, "sandbox")
    (tmp_path / "run" / "out").symlink_to("/etc")
    (tmp_path / "run" / "loop").symlink_to("loop")
    for place in ("queue.sqlite", "run/out/passwd", "run/loop", "run/\0", "run/../queue.sqlite", "run/none"):
        assert ask(gate, f"/gradio_api/file={tmp_path}/{place}")[0] == 403, place


def test_pages_load_nothing_from_elsewhere_and_are_framed_by_nobody(gate: Gate) -> None:
    policy = ask(gate)[1]["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
