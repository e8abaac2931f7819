"""The example scorers serve what their models say: each in a process, with a small stand-in for its model's package."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from training import scorer_http
from training.rewards.remote import Remote, Settings

SCORERS = Path(__file__).resolve().parents[2] / "examples" / "scorers"
BRIGHT = """
import numpy
from PIL import Image
def bright(picture):
    return float(numpy.asarray(picture, dtype="float64").mean() / 255)
"""
STAND_INS = {
    "hpsv3": """
class HPSv3RewardInferencer:
    def __init__(self, config_path=None, checkpoint_path=None, device="cuda"):
        assert device == "cpu"
    def reward(self, prompts, image_paths):
        return [(bright(Image.open(path)) + len(prompt), 9.0) for path, prompt in zip(image_paths, prompts)]
""",
    "inference": """
import sys, types, torch
videos = {}
io = types.ModuleType("torchvision.io")
io.write_video = lambda path, video, fps, options: videos.update({path: video})
sys.modules |= {"torchvision": types.ModuleType("torchvision"), "torchvision.io": io}
class VideoVLMRewardInference:
    def __init__(self, folder, device, dtype):
        assert (folder, device, dtype) == ("weights", "cpu", torch.bfloat16)
    def reward(self, paths, prompts, use_norm):
        rows = [{"VQ": bright(videos[p][0]), "MQ": float(len(videos[p])), "TA": float(len(t))}
                for p, t in zip(paths, prompts)]
        assert all(tuple(videos[p].shape[2:]) == (6, 3) for p in paths)
        return [{**row, "Overall": sum(row.values())} for row in rows]
""",
    "pyiqa": """
def create_metric(name, device):
    assert (name, device) == ("qalign", "cpu")
    return lambda image, task_: image.double().mean(dim=(1, 2, 3)) + len(task_)
""",
    "transformers": """
class AutoModelForCausalLM:
    @classmethod
    def from_pretrained(cls, name, *, trust_remote_code, attn_implementation, torch_dtype, device_map):
        assert trust_remote_code and device_map == "cpu"
        return cls()
    def score(self, pictures):
        return [bright(picture) for picture in pictures]
""",
}


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, code in STAND_INS.items():
        (tmp_path / f"{name}.py").write_text(BRIGHT + code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    made: list[Remote] = []

    def make(example: str, *arguments: str, **settings: Any) -> Remote:
        command = (sys.executable, str(SCORERS / example), "--port", "{port}", *arguments)
        made.append(Remote(Settings(command=command, startup_timeout=60, **settings)))
        return made[-1]

    yield make
    for reward in made:
        reward.close()


@pytest.fixture
def judge() -> Iterator[ThreadingHTTPServer]:
    """An OpenAI-compatible endpoint: unwell at first, then without a number, then as many points as frames."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.asked.append(asked)
            parts = asked["messages"][0]["content"]
            points = sum(part["type"] == "image_url" for part in parts)
            says = ["I cannot say.", f"A cat (object): 1. **Final Score:** {points}.5"][len(self.server.asked) > 2]
            self.send_response(503 if len(self.server.asked) == 1 else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"choices": [{"message": {"content": says}}]}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def greys(*levels: int) -> torch.Tensor:
    """Even pictures whose brightness survives eight bits."""
    return torch.tensor([level / 255 for level in levels]).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 6)


def test_the_copied_file_is_the_one_that_palate_serves_with() -> None:
    """Mend with: cp training/scorer_http.py examples/scorers/."""
    assert (SCORERS / "scorer_http.py").read_bytes() == Path(scorer_http.__file__).read_bytes()


def test_every_example_says_what_was_not_run_and_is_described() -> None:
    page = (SCORERS.parents[1] / "docs" / "remote-scorers.md").read_text(encoding="utf-8")
    for path in sorted(SCORERS.glob("*.py")):
        assert f"examples/scorers/{path.name}" in page
        if path.name != "scorer_http.py":
            assert "the weights were not at hand" in path.read_text(encoding="utf-8").split('"""')[1]


def test_the_scorer_on_the_page_runs(tmp_path: Path) -> None:
    page = (SCORERS.parents[1] / "docs" / "remote-scorers.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "brightness.py").write_text(code)
    shutil.copy(SCORERS / "scorer_http.py", tmp_path)
    reward = Remote(Settings(command=(sys.executable, str(tmp_path / "brightness.py"), "--port", "{port}")))
    assert_close(reward.score(greys(51, 102), reward.target([["a"], ["b"]])), torch.tensor([[0.2], [0.4]]))
    reward.close()


def test_hpsv3_reads_pictures_and_prompts_and_gives_the_mean(start) -> None:
    reward = start("serve_hpsv3.py", "--device", "cpu")
    assert_close(reward.score(greys(51, 102), reward.target([["a"], ["abc"]])), torch.tensor([[1.2], [3.4]]))


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [("", [6.2, 8.4]), ("text_alignment", [1.0, 3.0])],
)
def test_videoreward_reads_videos_and_gives_its_dimensions(dimension: str, expected: list, start) -> None:
    reward = start(
        "serve_videoreward.py",
        "--device",
        "cpu",
        "--repository",
        "nowhere",
        "--checkpoint",
        "weights",
        dimension=dimension,
    )
    videos = greys(51, 102)[:, None].expand(-1, 5, -1, -1, -1)
    assert_close(reward.score(videos, reward.target([["a"], ["abc"]]))[:, 0], torch.tensor(expected))


def test_qalign_ignores_text_and_hears_its_task(start) -> None:
    reward = start("serve_qalign.py", "--device", "cpu", "--task", "aesthetic")
    assert not reward.description.needs_text
    assert_close(reward.score(greys(51), reward.target([["a"]])).item(), 0.2 + len("aesthetic"))


def test_deqa_ignores_text(start) -> None:
    reward = start("serve_deqa.py", "--device", "cpu", "--trust-remote-code")
    assert_close(reward.score(greys(51, 102), reward.target([["a"], ["b"]])), torch.tensor([[0.2], [0.4]]))


def test_unifiedreward_asks_until_it_reads_a_number(start, judge: ThreadingHTTPServer) -> None:
    endpoint = f"http://127.0.0.1:{judge.server_port}/v1"
    reward = start("serve_unifiedreward.py", "--endpoint", endpoint, batch_size=1)
    assert reward.score(greys(51), reward.target([["a grey wall"]])).item() == 1.5
    first, second, third = judge.asked
    assert first["model"] == "UnifiedReward"
    assert "[a grey wall]" in first["messages"][0]["content"][-1]["text"]
    assert first["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert [first["temperature"], second["temperature"], third["temperature"]] == [0, 0.3, 0.3]
    videos = greys(51)[:, None].expand(-1, 3, -1, -1, -1)
    assert reward.score(videos, reward.target([["a grey wall"]])).item() == 3.5
