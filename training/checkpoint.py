"""Exact resume. A checkpoint is complete or absent; with keyed randomness, weights and optimizer are all there is.

checkpoints/000040/adapter.safetensors     the LoRA under peft's names
checkpoints/000040/optimizer.safetensors   `<parameter>/<moment>`
checkpoints/000040/state.json              update, length of events.jsonl, the recipe's digest
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from toolkit import atomic
from toolkit.errors import UsageError
from toolkit.run_folder import updates_in


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint held."""

    update: int
    events_length: int
    adapter: dict[str, Tensor]
    optimizer: dict[str, Tensor]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, recipe_digest: str, samples_per_update: int) -> None:
        """folder: `checkpoints/` of the run; the other two must be the same when it is resumed."""
        self.folder = folder
        self._digest, self._samples_per_update = recipe_digest, samples_per_update

    def updates(self) -> list[int]:
        """Complete checkpoints, oldest first."""
        return updates_in(self.folder)

    def save(
        self, update: int, adapter: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], events_length: int
    ) -> None:
        """Write everything beside its place, flush it, then rename. Raises OSError; older checkpoints stay."""
        self.folder.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{update:06d}.", dir=self.folder))
        try:
            save_file(dict(adapter), building / "adapter.safetensors")
            save_file(dict(optimizer), building / "optimizer.safetensors")
            state = {"update": update, "events_length": events_length, "recipe": self._digest}
            state["samples_per_update"] = self._samples_per_update
            (building / "state.json").write_text(json.dumps(state), encoding="utf-8")
            for path in building.iterdir():
                atomic.flush(path)
            target = self._path(update)
            building.chmod(0o755)
            if target.exists():  # saved by a signal, checked after the resume: the same weights, a longer history
                for path in sorted(building.iterdir()):
                    path.replace(target / path.name)
            else:
                building.rename(target)
            atomic.flush(self.folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def load(self, update: int | None = None) -> Loaded | None:
        """The checkpoint of that update, or the newest; None when there is none.

        Raises UsageError when it belongs to another recipe or to another number of samples per update.
        """
        known = self.updates()
        if not known:
            return None
        path = self._path(known[-1] if update is None else update)
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        if state["recipe"] != self._digest:
            raise UsageError(
                "This run's checkpoints were made with another recipe.",
                cause="recipe.yaml was edited after the run began.",
                action="Undo the edit, or start a new run.",
            )
        if state["samples_per_update"] != self._samples_per_update:
            raise UsageError(
                f"This run had {state['samples_per_update']} samples per update, now it would have "
                f"{self._samples_per_update}.",
                cause="The number of processes changed.",
                action="Resume with as many processes as before.",
            )
        return Loaded(
            state["update"],
            state["events_length"],
            load_file(path / "adapter.safetensors"),
            load_file(path / "optimizer.safetensors"),
        )

    def adapter(self, update: int) -> dict[str, Tensor]:
        """Only the LoRA of that update."""
        return load_file(self._path(update) / "adapter.safetensors")

    def retain(self, newest: int, others: Set[int]) -> None:
        """Delete all but the newest few and the others named."""
        for update in self.updates()[:-newest]:
            if update not in others:
                gone = self._path(update).rename(self.folder / f".{update:06d}.gone")
                shutil.rmtree(gone)

    def clear_unfinished(self) -> None:
        """Remove what a killed process left half-written."""
        for path in self.folder.glob(".[0-9]*"):
            shutil.rmtree(path, ignore_errors=True)

    def _path(self, update: int) -> Path:
        return self.folder / f"{update:06d}"


def optimizer_state(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Every moment of every parameter as `<parameter>/<moment>` → tensor."""
    return {
        f"{name}/{moment}": torch.as_tensor(value).detach().clone().contiguous()
        for name, parameter in parameters.items()
        for moment, value in sorted(optimizer.state[parameter].items())
    }


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], state: Mapping[str, Tensor]
) -> None:
    """Inverse of `optimizer_state`."""
    for key, value in state.items():
        name, moment = key.rsplit("/", 1)
        parameter = parameters[name]
        optimizer.state[parameter][moment] = value.clone() if moment == "step" else value.to(parameter.device)
