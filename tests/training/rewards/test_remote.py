"""A scorer in another process scores as it would in this one, and each way it can fail has its sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from toolkit import recipe
from toolkit.errors import TrainingError, UsageError
from toolkit.recipe import Section
from training import blueprint, scorer_server, tables
from training.rewards import _scorer_client
from training.rewards._scorer_client import ScorerClient
from training.rewards.demo import DemoReward
from training.rewards.remote import Remote, Settings

TEXTS = [["3d render. a cat", "line art. a cat"], ["flat icon. a car", "cartoon. a car"], ["a", "b"]]
DESCRIBE = (
    b'{"protocol": 1, "name": "scripted", "version": "1", "licence": "MIT", "range": [null, null], '
    b'"needs_text": true, "accepts_video": false, "max_batch": 8}'
)
PATIENCE = 20.0


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def served_demo() -> Iterator[Remote]:
    command = (sys.executable, "-m", "training", "serve-scorer", "demo", "--port", "{port}")
    reward = Remote(Settings(command=command, batch_size=2))
    yield reward
    reward.close()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server that gives the replies of a list, one by one; `asked` counts."""
    monkeypatch.setattr(_scorer_client, "FIRST_PAUSE", 0.01)
    servers = []

    def serve(*replies: tuple[int, bytes]) -> ThreadingHTTPServer:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, content = replies[min(self.server.asked, len(replies) - 1)]
                self.server.asked += 1
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.asked = 0
        server.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def gone(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_served_reward_scores_as_it_does_in_process(served_demo: Remote, pictures: torch.Tensor) -> None:
    here = DemoReward()
    there = served_demo.score(pictures, served_demo.target(TEXTS))
    assert_close(there, here.score(pictures, here.target(TEXTS)), rtol=0, atol=1e-6)


def test_a_served_video_counts_as_the_mean_of_its_frames(served_demo: Remote, pictures: torch.Tensor) -> None:
    here, video = DemoReward(), pictures[None]
    there = served_demo.score(video, served_demo.target([["3d render. a cat", "line art. a cat"]]))
    frames = here.score(pictures, here.target(TEXTS[:1] * 3))
    assert_close(there, frames.mean(dim=0, keepdim=True), rtol=0, atol=1e-6)


def test_a_served_reward_says_what_it_is(served_demo: Remote) -> None:
    assert served_demo.description.name == "demo"
    assert served_demo.description.needs_text
    assert served_demo.description.version.startswith("palate ")


def test_a_judge_is_not_served() -> None:
    with pytest.raises(UsageError, match="`demo_judge` judges the final report and is not served"):
        scorer_server.serve(Section(name="demo_judge"), port=1)


def test_batches_are_as_large_as_both_sides_allow_and_keep_their_order(planted: list[str], remote) -> None:
    pictures = torch.arange(7).reshape(7, 1, 1, 1).expand(7, 3, 2, 2) / 10
    texts = [["x" * n, "y" * (2 * n)] for n in range(7)]
    expected = torch.tensor([[n / 10 + n, n / 10 + 2 * n] for n in range(7)])
    for asked, sizes in ((3, [3, 3, 3, 3, 3, 3, 1]), (99, [4, 4, 4, 4, 3, 3, 3])):
        reward = remote(command=planted, batch_size=asked)
        assert_close(reward.score(pictures, reward.target(texts)), expected)
        counted = remote(command=planted, batch_size=asked, dimension="batch")
        assert counted.score(pictures, counted.target(texts))[:, 0].tolist() == sizes


def test_videos_go_in_one_question(planted: list[str], remote) -> None:
    reward = remote(command=planted, dimension="batch")
    assert reward.score(torch.rand(2, 5, 3, 4, 4), reward.target([["a"], ["b"]])).tolist() == [[2.0], [2.0]]


def test_the_template_is_what_the_scorer_reads(planted: list[str], remote) -> None:
    reward = remote(command=planted, prompt_template="A photo of {prompt}.")
    assert reward.score(torch.zeros(1, 3, 2, 2), reward.target([["cat"]])).item() == len("A photo of cat.")


def test_a_blind_scorer_is_asked_once_without_text_and_weighs_no_words(planted: list[str], remote) -> None:
    reward = remote(command=[*planted, "--blind"])
    assert reward.score(torch.ones(1, 3, 2, 2) / 2, reward.target([["a cat", "a cat"]])).tolist() == [[0.5, 0.5]]
    with pytest.raises(TrainingError, match="planted ignores text, so it cannot weigh words against each other"):
        reward.target([["a cat", "a dog"]])
    with pytest.raises(TrainingError, match="planted scores single pictures, not videos"):
        reward.score(torch.rand(1, 2, 3, 4, 4), reward.target([["a cat"]]))


def test_an_unknown_dimension_is_refused_with_the_nearest(planted: list[str], remote) -> None:
    with pytest.raises(UsageError, match=r"planted has no dimension `bach`\. Did you mean `batch`\?"):
        remote(command=planted, dimension="bach")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("refuse", "refused the question: This prompt is not allowed. "),
        ("fail", "failed: planted failed: RuntimeError: the picture tower fell over Attempts: 2."),
        ("few", "answered 1 scores for 2 pictures"),
        ("hang", "gave no answer within 0.5 seconds. It hangs"),
        ("die", "has ended. Its last words: out of memory, says the scorer."),
    ],
)
def test_a_scorer_in_trouble_is_told_in_a_sentence(
    word: str, sentence: str, planted: list[str], remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_scorer_client, "FIRST_PAUSE", 0.2)
    reward = remote(command=planted, timeout=0.5, retries=1)
    with pytest.raises(TrainingError) as raised:
        reward.score(torch.rand(2, 3, 4, 4), reward.target([[word], [word]]))
    assert sentence in str(raised.value)


def test_a_killed_scorer_is_told_in_a_sentence(planted: list[str], remote) -> None:
    reward = remote(command=planted)
    psutil.Process(int(reward.description.version)).kill()
    with pytest.raises(TrainingError, match="The scorer that Palate started has ended"):
        reward.score(torch.rand(1, 3, 4, 4), reward.target([["a"]]))


def test_a_scorer_that_fails_twice_is_asked_a_third_time(scripted) -> None:
    server = scripted((200, DESCRIBE), (503, b'{"error": "Busy."}'), (500, b""), (200, b'{"scores": [0.25]}'))
    reward = Remote(Settings(url=server.url, retries=2))
    assert reward.score(torch.rand(1, 3, 4, 4), reward.target([["a"]])).item() == 0.25
    assert server.asked == 4


@pytest.mark.parametrize(
    ("reply", "asked", "sentence"),
    [
        ((422, b'{"error": "Too dark."}'), 1, "refused the question: Too dark."),
        ((404, b"<html>"), 1, "refused the question: status 404."),
        ((302, b""), 1, "refused the question: status 302."),
        ((500, b"<html>"), 3, "failed: status 500. Attempts: 3."),
        ((200, b"<html>"), 1, "is not the scoring protocol: the reply: "),
        ((200, b'{"scores": [null]}'), 1, r"is not the scoring protocol: scores.0: "),
        ((200, b'{"scores": []}'), 1, "answered 0 scores for 1 pictures"),
        ((200, b'{"scores": [NaN]}'), 1, "gave a score that is not a finite number"),
        ((200, b'{"scores": [1e999]}'), 1, "gave a score that is not a finite number"),
    ],
)
def test_a_strange_reply_is_told_in_a_sentence(reply: tuple, asked: int, sentence: str, scripted) -> None:
    server = scripted((200, DESCRIBE), reply)
    reward = Remote(Settings(url=server.url, retries=2))
    with pytest.raises(TrainingError) as raised:
        reward.score(torch.rand(1, 3, 4, 4), reward.target([["a"]]))
    assert sentence in str(raised.value)
    assert server.asked == 1 + asked


def test_pictures_pass_no_proxy(scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = scripted((200, DESCRIBE))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = scripted((200, DESCRIBE))
    Remote(Settings(url=server.url))
    assert (server.asked, proxy.asked) == (1, 0)


def test_another_version_is_refused(scripted) -> None:
    server = scripted((200, b'{"protocol": 2}'))
    with pytest.raises(TrainingError, match="speaks version 2 of the protocol; Palate speaks 1"):
        Remote(Settings(url=server.url))


def test_nobody_there_is_told_after_all_attempts(scripted) -> None:
    server = scripted((200, DESCRIBE))
    server.server_close()
    with pytest.raises(TrainingError, match=r"does not answer .* Attempts: 3\. .* start it again, then resume"):
        Remote(Settings(url=server.url, retries=2))


def test_a_command_that_cannot_start_or_never_answers_is_told(remote) -> None:
    with pytest.raises(TrainingError, match="Its last words: no-such-program: No such file or directory"):
        remote(command=["no-such-program", "{port}"])
    silent = [sys.executable, "-c", "import time; time.sleep(60)", "{port}"]
    with pytest.raises(TrainingError, match=r"has not begun to answer within 0\.3 seconds"):
        remote(command=silent, startup_timeout=0.3)


def test_the_scorer_is_gone_when_its_reward_is(planted: list[str]) -> None:
    for end in (lambda reward: reward.close(), lambda reward: None):
        reward = Remote(Settings(command=planted))
        pid = int(reward.description.version)
        assert psutil.pid_exists(pid)
        end(reward)
        del reward
        assert gone(pid)


@pytest.mark.parametrize("how", ["ends", "killed"])
def test_the_scorer_is_gone_when_its_parent_is(how: str, planted: list[str]) -> None:
    """Also its own children, and also when nobody had time to clean up."""
    nested = [sys.executable, "-c", f"import subprocess; subprocess.run({planted!r})", "{port}"]
    nested[2] = nested[2].replace("'{port}'", "__import__('sys').argv[1]")
    code = f"""
        import sys
        from training.rewards._scorer_process import ScorerProcess
        process = ScorerProcess({nested!r})
        print(process.url, flush=True)
        sys.stdin.read()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    client = ScorerClient(parent.stdout.readline().strip(), timeout=PATIENCE, retries=0)
    client.wait_until_ready(PATIENCE)
    pid = int(client.describe().version)
    assert psutil.pid_exists(pid)
    if how == "killed":
        parent.kill()
    parent.communicate()
    assert gone(pid)


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_a_ctrl_c_for_the_run_does_not_reach_the_scorer(planted: list[str], remote) -> None:
    reward = remote(command=planted)
    assert os.getpgid(int(reward.description.version)) != os.getpgrp()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org:8765", "https://127.0.0.1:8765", "http://127.0.0.1@example.org", "http://10.0.0.2",
        "http://127.0.0.1.example.org", "file:///etc/passwd", "http://127.0.0.1:80/path", "http://127.0.0.1\n",
    ],
)  # fmt: skip
def test_only_this_machine_is_asked_unless_allowed(url: str) -> None:
    with pytest.raises(UsageError, match="is not on this machine; allow_remote_host: true sends pictures elsewhere"):
        tables.reward(Section(name="remote", settings={"url": url}))


@pytest.mark.parametrize("url", ["http://example.org:8765", "https://10.0.0.2/"])
def test_another_machine_is_asked_when_allowed(url: str) -> None:
    assert Settings(url=url, allow_remote_host=True).url == url


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://me:secret@example.org", "http://example.org/path", ""])
def test_what_is_no_plain_address_is_never_asked(url: str) -> None:
    with pytest.raises(ValidationError, match="is not an address like http://host:port, without path and password"):
        Settings(url=url, allow_remote_host=True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:80/", "http://[::1]:9", "http://127.1.2.3"])
def test_every_loopback_address_is_fine(url: str) -> None:
    assert Settings(url=url).url == url


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"command": ["x", "{port}"], "url": "http://localhost:1"}, "give a url or a command, not both"),
        ({"command": ["x"]}, "the command must say where the port goes"),
        ({"prompt_template": "a photo"}, "the prompt_template must say where the prompt goes"),
    ],
)
def test_contradictory_settings_are_refused(settings: dict, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Settings(**settings)


def test_a_recipe_for_another_machine_is_refused_before_anything_loads() -> None:
    asked = {"reward": "demo", "validation": {"scorer": {"name": "remote", "url": "http://example.org"}}}
    words = {"words": {"positive": "a", "negative": "b"}}
    with pytest.raises(UsageError, match=r"`remote\.url` cannot be 'http://example\.org'.*unless allow_remote_host"):
        recipe.parse(asked | words)
    asked["validation"]["scorer"]["allow_remote_host"] = True
    recipe.parse(asked | words)


def test_a_method_that_follows_a_gradient_refuses_it() -> None:
    with pytest.raises(UsageError, match="`srpo` follows the reward's gradient, but `remote` has none"):
        recipe.parse({"method": "srpo", "reward": "remote", "words": {"positive": "a", "negative": "b"}})


def test_a_plan_neither_starts_nor_asks_a_scorer(tmp_path: Path) -> None:
    started = tmp_path / "started"
    command = (sys.executable, "-c", f"open({str(started)!r}, 'w')", "{port}")
    with blueprint.weightless():
        reward = Remote(Settings(command=command))
        with blueprint.mode(), blueprint.Numberless():
            assert reward.score(torch.rand(2, 3, 8, 8), reward.target([["a", "b"], ["a", "c"]])).shape == (2, 2)
    reward.close()
    assert not started.exists()
