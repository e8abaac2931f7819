"""The serving side over real HTTP: what it answers, what it refuses unread, and that questions take turns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import httpx
import pytest
import torch

from toolkit.launch import free_port
from training.scorer_http import MEDIA_TYPE, PROTOCOL
from training.scoring_protocol import Answer, Description, encode

# Raises when two questions are answered at once.
CODE = """
import threading, time
from training.scorer_http import options, serve
alone = threading.Lock()
def score(pictures, prompts):
    if not alone.acquire(blocking=False):
        raise RuntimeError("two at once")
    time.sleep(0.02)
    alone.release()
    return {"scores": [float(len(prompt)) for prompt in prompts]}
describe = {"name": "lengths", "version": "1", "licence": "MIT", "range": (0, None),
            "needs_text": True, "accepts_video": False, "max_batch": 4}
serve(describe, score, options().parse_args().port)
"""
HEADERS = {"Content-Type": MEDIA_TYPE}
ONE = torch.zeros(1, 3, 2, 2)


@pytest.fixture(scope="module")
def scorer() -> Iterator[httpx.Client]:
    port = free_port()
    child = subprocess.Popen([sys.executable, "-c", CODE, "--port", str(port)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == f"Serving lengths at http://127.0.0.1:{port}\n"
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client
    child.kill()
    child.communicate()


def test_it_describes_itself(scorer: httpx.Client) -> None:
    said = Description.model_validate_json(scorer.get("/describe").content)
    assert (said.protocol, said.name, said.range) == (PROTOCOL, "lengths", (0, None))


def test_questions_take_turns_and_each_gets_its_own_answer(scorer: httpx.Client) -> None:
    def ask(length: int) -> float:
        reply = scorer.post("/score", content=encode(ONE, ["x" * length]), headers=HEADERS)
        return Answer.model_validate_json(reply.content).scores[0]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(16))) == list(range(16))


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "sentence"),
    [
        ("GET", "/", {}, 404, "Ask GET /describe or POST /score."),
        ("GET", "/../etc/passwd", {}, 404, "Ask GET /describe or POST /score."),
        ("POST", "/describe", HEADERS, 404, "Ask GET /describe or POST /score."),
        ("POST", "/score", {"Content-Type": "text/plain"}, 415, "A question is sent as application/x-safetensors."),
        ("POST", "/score", HEADERS, 400, "The question is not a safetensors file"),
    ],
)
def test_what_is_no_question_gets_a_sentence_and_the_next_one_an_answer(
    method: str, path: str, headers: dict, status: int, sentence: str, scorer: httpx.Client
) -> None:
    reply = scorer.request(method, path, headers=headers)
    assert reply.status_code == status
    assert reply.json()["error"].startswith(sentence)
    assert scorer.get("/describe").is_success


@pytest.mark.parametrize("length", [None, "9999999999", "-1", "many"])
def test_a_question_without_a_believable_length_is_not_read(length: str | None, scorer: httpx.Client) -> None:
    connection = HTTPConnection("127.0.0.1", scorer.base_url.port, timeout=10)
    connection.putrequest("POST", "/score")
    connection.putheader("Content-Type", MEDIA_TYPE)
    if length:
        connection.putheader("Content-Length", length)
    connection.endheaders()
    reply = connection.getresponse()
    assert (reply.status, reply.getheader("Content-Type")) == (413, "application/json")
    assert b"A question says its length, 2147483648 bytes at most." in reply.read()
    connection.close()


def test_a_port_that_is_taken_is_told_without_a_traceback(scorer: httpx.Client) -> None:
    second = subprocess.run(
        [sys.executable, "-c", CODE, "--port", str(scorer.base_url.port)], capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    said = f"Port {scorer.base_url.port} of this machine cannot be used: Address already in use."
    assert second.stderr == f"{said} Choose another with --port.\n"
