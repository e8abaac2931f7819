"""Several processes share one run: the same numbers as one process, one voice, one exit code."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from toolkit.run_folder import INTERRUPTED, RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a busy machine is no failure


def flat(path: Path, ending: str = "") -> Tensor:
    """All tensors of a file whose names end so, in one vector."""
    tensors = load_file(path)
    return torch.cat([tensors[name].flatten().double() for name in sorted(tensors) if name.endswith(ending)])


def distance(first: Tensor, second: Tensor) -> float:
    """Relative to the second."""
    return float((first - second).norm() / second.norm())


def processes(run: RunFolder) -> int:
    return json.loads(run.environment_file.read_text())["processes"]


GROUPS = {"preference": "relative", "group_size": 4, "rollout_steps": 4, "guidance_scale": 1.0}
METHODS = {  # one pass; statistics over all processes and two steps per update; the same with a memory
    "srpo": {},
    "flow_grpo": {"name": "flow_grpo", "minibatches": 2, "advantage_scale": "global", "kl_weight": 0.0, **GROUPS},
    "ddpo": {"name": "ddpo", "minibatches": 2, "history": 8, "least_history": 3, **GROUPS},
    "nft": {"name": "nft", "minibatches": 2, "levels": 2, "decay_rate": 0.1, **GROUPS},
}


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_what_one_does_with_accumulation(palate, chaos, method: str) -> None:
    """The first gradient stands in the optimizer: after one update exp_avg is (1 - beta1) times it, clipped."""
    chosen = ("--set", f"method={json.dumps(METHODS[method])}") if METHODS[method] else ()
    settings = (
        *chosen,
        "--set",
        "training.updates=5",
        "--set",
        "validation.every=1",
        "--set",
        "training.keep_checkpoints=9",
    )
    runs = {}
    for name, how in (("two", ("--processes", "2")), ("one", ("--set", "training.gradient_accumulation=2"))):
        runs[name], child = palate.start_training(name, *settings, *how)
        chaos.end(child)
    assert (processes(runs["two"]), processes(runs["one"])) == (2, 1)
    assert chaos.intact(runs["two"]) == chaos.intact(runs["one"]) == [0, 1, 2, 3, 4, 5]

    def of(update: int, name: str, ending: str = "") -> float:
        return distance(*(flat(runs[n].checkpoints / f"{update:06d}" / name, ending) for n in ("two", "one")))

    assert of(1, "optimizer.safetensors", "/exp_avg") <= 1e-5
    assert of(5, "adapter.safetensors") <= 1e-4
    if (runs["one"].checkpoints / "000005" / "method.safetensors").exists():
        assert of(5, "method.safetensors") <= 1e-4
    else:
        assert method in ("srpo", "flow_grpo")
    assert [e["update"] for e in runs["two"].events("update")] == [1, 2, 3, 4, 5]  # only one of them writes


def test_ctrl_c_reaches_all_of_them(palate, chaos) -> None:
    run, child = palate.start_training("run", "--processes", "2", "--set", "training.updates=500")
    chaos.wait_for(lambda: run.events("update"), child)
    child.send_signal(signal.SIGINT)
    said = chaos.end(child, 130)
    assert "everything up to here is saved" in said
    assert run.state().status == INTERRUPTED
    assert chaos.intact(run)[-1] == run.events("update")[-1]["update"]
