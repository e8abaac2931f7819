"""A checkpoint is complete or absent, and what it holds continues to the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from toolkit.errors import UsageError
from training import checkpoint
from training.checkpoint import Checkpoints

ADAPTER = {"a.lora_A.weight": torch.arange(6.0).reshape(2, 3), "a.lora_B.weight": torch.ones(3, 2)}
MOMENTS = {"a.lora_A.weight/exp_avg": torch.full((2, 3), 0.5), "a.lora_A.weight/step": torch.tensor(3.0)}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", "digest", 8)


def save(checkpoints: Checkpoints, *updates: int) -> None:
    for update in updates:
        checkpoints.save(update, ADAPTER, MOMENTS, events_length=100 + update)


def everything_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_what_was_saved_comes_back(checkpoints: Checkpoints) -> None:
    save(checkpoints, 10)
    loaded = checkpoints.load()
    assert (loaded.update, loaded.events_length) == (10, 110)
    assert all(torch.equal(loaded.adapter[name], tensor) for name, tensor in ADAPTER.items())
    assert all(torch.equal(loaded.optimizer[name], tensor) for name, tensor in MOMENTS.items())
    assert set(checkpoints.adapter(10)) == set(ADAPTER)


def test_the_newest_is_loaded_unless_another_is_asked_for(checkpoints: Checkpoints) -> None:
    assert checkpoints.load() is None
    save(checkpoints, 5, 1000, 20)
    assert checkpoints.updates() == [5, 20, 1000]
    assert checkpoints.load().update == 1000
    assert checkpoints.load(20).update == 20


@pytest.mark.parametrize("broken", ["save_file", "json.dumps", "atomic.flush"])
def test_a_failed_save_leaves_no_checkpoint_and_keeps_the_old_ones(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    save(checkpoints, 10)
    before = everything_in(checkpoints.folder)

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"training.checkpoint.{broken}", fail)
    with pytest.raises(OSError, match="No space left"):
        save(checkpoints, 20)
    assert everything_in(checkpoints.folder) == before
    assert checkpoints.updates() == [10]


def test_a_half_written_folder_is_not_a_checkpoint_and_is_cleared(checkpoints: Checkpoints) -> None:
    save(checkpoints, 10)
    killed = checkpoints.folder / ".000020.abc"
    killed.mkdir()
    (killed / "adapter.safetensors").write_bytes(b"half")
    assert checkpoints.load().update == 10
    checkpoints.clear_unfinished()
    assert not killed.exists()
    assert checkpoints.updates() == [10]


def test_saving_the_same_update_again_replaces_it_byte_for_byte(checkpoints: Checkpoints) -> None:
    save(checkpoints, 10)
    files = {path.name: path.read_bytes() for path in (checkpoints.folder / "000010").iterdir()}
    save(checkpoints, 10)
    assert {path.name: path.read_bytes() for path in (checkpoints.folder / "000010").iterdir()} == files


def test_another_recipes_checkpoint_is_refused(checkpoints: Checkpoints) -> None:
    save(checkpoints, 10)
    with pytest.raises(UsageError, match="another recipe"):
        Checkpoints(checkpoints.folder, "other digest", 8).load()


def test_another_number_of_samples_per_update_is_refused(checkpoints: Checkpoints) -> None:
    save(checkpoints, 10)
    with pytest.raises(UsageError, match="had 8 samples per update, now it would have 16"):
        Checkpoints(checkpoints.folder, "digest", 16).load()


@pytest.mark.parametrize(
    ("others", "left"), [({10}, [10, 40, 50]), ({50}, [40, 50]), ({0}, [0, 40, 50]), ({0, 30}, [0, 30, 40, 50])]
)
def test_retain_keeps_the_newest_and_those_named(checkpoints: Checkpoints, others: set[int], left: list[int]) -> None:
    save(checkpoints, 0, 10, 20, 30, 40, 50)
    checkpoints.retain(newest=2, others=others)
    assert checkpoints.updates() == left


class Training:
    """Two parameters under AdamW, one of which may never have had a gradient."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.parameters = {name: nn.Parameter(torch.randn(4, generator=generator)) for name in ("a/deep.name", "b")}
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=0.05, weight_decay=0.1)

    def steps(self, numbers: range, names: tuple[str, ...] = ("a/deep.name", "b")) -> None:
        for number in numbers:
            for place, name in enumerate(names):
                generator = torch.Generator().manual_seed(10 * number + place)
                self.parameters[name].grad = torch.randn(4, generator=generator)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize("early", [("a/deep.name", "b"), ("a/deep.name",)])
def test_a_restored_optimizer_takes_identical_adamw_steps(checkpoints: Checkpoints, early: tuple[str, ...]) -> None:
    straight = Training()
    straight.steps(range(5), early)
    weights = {name.replace("/", "."): parameter.detach() for name, parameter in straight.parameters.items()}
    checkpoints.save(5, weights, checkpoint.optimizer_state(straight.optimizer, straight.parameters), 0)
    straight.steps(range(5, 10))

    resumed, loaded = Training(), checkpoints.load()
    for name, parameter in resumed.parameters.items():
        parameter.data = loaded.adapter[name.replace("/", ".")]
    checkpoint.load_optimizer_state(resumed.optimizer, resumed.parameters, loaded.optimizer)
    resumed.steps(range(5, 10))
    for name, parameter in straight.parameters.items():
        assert torch.equal(parameter, resumed.parameters[name])
