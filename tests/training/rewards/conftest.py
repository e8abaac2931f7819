"""Scorers in toy size, made to measure, and scorers in processes of their own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from training import scorer_http, tables
from training.rewards.remote import Remote, Settings

PLANTED = '''
import array, os, sys, time
from scorer_http import Refused, options, serve

parser = options()
parser.add_argument("--blind", action="store_true")
parser.add_argument("--max-batch", type=int, default=4)
arguments = parser.parse_args()
describe = {
    "name": "planted", "version": str(os.getpid()), "licence": "MIT", "range": (0.0, 1.0), "dimensions": ("batch",),
    "needs_text": not arguments.blind, "accepts_video": not arguments.blind, "max_batch": arguments.max_batch,
}


def score(pictures, prompts):
    """Mean brightness plus the prompt's length; words in the first prompt change how it behaves."""
    if prompts[0] == "die":
        print("out of memory, says the scorer", flush=True)
        os._exit(3)
    if prompts[0] == "hang":
        time.sleep(60)
    if prompts[0] == "refuse":
        raise Refused("This prompt is not allowed.")
    if prompts[0] == "fail":
        raise RuntimeError("the picture tower fell over")
    values = array.array("f", pictures.data)
    each = len(values) // len(prompts)
    means = [sum(values[n * each : (n + 1) * each]) / each for n in range(len(prompts))]
    scores = [mean + len(prompt) for mean, prompt in zip(means, prompts, strict=True)]
    scores = scores[: 1 if prompts[0] == "few" else None]
    return {"scores": scores, "dimensions": {"batch": [len(prompts)] * len(scores)}}


serve(describe, score, arguments.port)
'''


@pytest.fixture(scope="session")
def tiny(reward_section: Callable[..., Any]) -> Callable[..., Any]:
    """name, settings → the built scorer; kept, so its text cache may be warm."""
    return cache(lambda name, **settings: tables.reward(reward_section(name, **settings)))


@pytest.fixture
def photos() -> Tensor:
    """Three different pictures [3, 3, 40, 40]."""
    return torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(11))


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a scorer that lies in a folder of its own, beside the one file it needs."""
    folder = tmp_path_factory.mktemp("scorer")
    shutil.copy(Path(scorer_http.__file__), folder)
    (folder / "planted.py").write_text(PLANTED)
    return [sys.executable, str(folder / "planted.py"), "--port", "{port}"]


@pytest.fixture
def remote() -> Iterator[Callable[..., Remote]]:
    """Makes remote rewards and closes them after the test."""
    made: list[Remote] = []

    def make(**settings: object) -> Remote:
        made.append(Remote(Settings(**settings)))
        return made[-1]

    yield make
    for reward in made:
        reward.close()
