"""One run's files. Whoever shows a run reads them here; whoever trains writes them here; nothing else is shared.

recipe.yaml        exactly what runs
state.json         status, process, heartbeat
events.jsonl       the only truth about the run's numbers, appended
environment.json   versions and device
log.txt            what the process printed
previews/          000020_03.webp: update, prompt; 000000 is the base; a clip is an animation
checkpoints/       000020/: adapter and optimizer, complete or absent
lora/              the finished LoRA, for ComfyUI in a second file where it does not read the first
report/            base against aligned: table and pictures
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from toolkit import atomic, recipe
from toolkit.errors import UsageError
from toolkit.event_reader import Event, EventReader

QUEUED, RUNNING, DONE, STOPPED, FAILED, INTERRUPTED, PAUSED, CANCELLED = (
    "queued", "running", "done", "stopped", "failed", "interrupted", "paused", "cancelled",
)  # fmt: skip
SAMPLE, SAVE = WISHES = ("sample", "save")  # what may be asked of a run at work, besides its end
STATE_EVERY_SECONDS = 2.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Preview:
    """One picture of a run: `update` 0 is the base."""

    path: Path
    update: int
    prompt_index: int


@dataclass(frozen=True)
class State:
    """What a run says of itself, after the process behind it was looked for."""

    status: str
    update: int = 0
    updates: int = 0
    message: str = ""
    exit_code: int = 0  # of a process that ended with a sentence
    pid: int = 0
    pid_started: float = 0.0

    @property
    def is_active(self) -> bool:
        """Whether a process is, or soon will be, at work."""
        return self.status in (QUEUED, RUNNING)


class RunFolder:
    """The layout of one run. Creating the object touches nothing."""

    def __init__(self, path: Path) -> None:
        """path: the run's folder, existing or not."""
        self.path = Path(path).resolve()
        self.recipe_file = self.path / "recipe.yaml"
        self.state_file = self.path / "state.json"
        self.events_file = self.path / "events.jsonl"
        self.environment_file = self.path / "environment.json"
        self.log_file = self.path / "log.txt"
        self.previews = self.path / "previews"
        self.checkpoints = self.path / "checkpoints"
        self.lora = self.path / "lora"
        self.report = self.path / "report"
        self.stop_file = self.path / "stop"
        self.wishes = {wish: self.path / f"{wish}.wish" for wish in WISHES}

    @property
    def name(self) -> str:
        """The folder's name, unique below its root."""
        return self.path.name

    @classmethod
    def create(cls, root: Path, content: recipe.Recipe, *, exact: bool = False) -> RunFolder:
        """A fresh folder `root/<name>`, with -2, -3 … when taken; with `exact`, `root` itself, which must be empty.

        Raises UsageError when the place cannot be written or is taken.
        """
        try:
            run = cls(root) if exact else cls._free(root, content.name)
            run.path.mkdir(parents=True, exist_ok=True)
            if any(run.path.iterdir()):
                raise UsageError(
                    f"The output folder `{root}` is not empty.",
                    action="Give a new folder, or `palate resume` the run in it.",
                )
            atomic.write_file(run.recipe_file, content.to_yaml())
            run.write_state(QUEUED, updates=content.training.updates)
        except OSError as error:
            raise UsageError(
                f"The run cannot be written to `{root}`: {error.strerror or error}.",
                action="Choose a folder you can write to with --output.",
            ) from error
        return run

    @classmethod
    def _free(cls, root: Path, name: str) -> RunFolder:
        root.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            path = root / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return cls(path)
        raise UsageError(f"`{root}` already holds 10,000 runs named `{name}`.", action="Choose another name.")

    def recipe(self) -> recipe.Recipe:
        """What this run trains. Raises UsageError when the folder holds no recipe."""
        return recipe.read(self.recipe_file)

    def write_state(self, status: str, **facts: Any) -> None:
        """Replace state.json; facts not given keep their last value."""
        content = {**self._raw_state(), **facts, "status": status, "heartbeat": time.time()}
        atomic.write_json(self.state_file, content)

    def claim(self, **facts: Any) -> None:
        """Say that this very process now trains the run."""
        me = psutil.Process()
        self.write_state(RUNNING, pid=me.pid, pid_started=me.create_time(), message="", exit_code=0, **facts)

    def state(self) -> State:
        """The run's state; a run whose process is gone reads as interrupted, whatever the file says."""
        raw = self._raw_state()
        state = State(**{k: raw[k] for k in State.__dataclass_fields__ if k in raw} or {"status": INTERRUPTED})
        if state.is_active and state.pid and not is_alive(state.pid, state.pid_started):
            message = f"Interrupted at update {state.update}. Resume continues from the last checkpoint."
            return State(INTERRUPTED, state.update, state.updates, message)
        return state

    def _raw_state(self) -> dict[str, Any]:
        try:
            return json.loads(self.state_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def events(self, kind: str | None = None) -> list[Event]:
        """All events, or those of one kind. A torn last line is left out."""
        return [event for event in EventReader(self.events_file).read() if kind in (None, event["kind"])]

    def preview_pictures(self) -> list[Preview]:
        """All preview pictures, by update and prompt."""
        found = []
        for path in sorted(self.previews.glob("*_*.webp")):
            if match := re.fullmatch(r"(\d+)_(\d+)", path.stem):
                found.append(Preview(path, int(match[1]), int(match[2])))
        return found

    def checkpoint_updates(self) -> list[int]:
        """The updates that can be resumed from, oldest first."""
        return updates_in(self.checkpoints)

    def lora_files(self) -> list[Path]:
        """The finished LoRA: diffusers' file, which Palate itself plays, and ComfyUI's `_comfyui` where there is one.

        A file that is still being written begins with a dot.
        """
        return sorted(self.lora.glob("[!.]*.safetensors"))

    def request_stop(self) -> None:
        """Ask the run to end at the next update, keeping the best checkpoint; needs no signals."""
        atomic.write_file(self.stop_file, "stop\n")

    def request(self, wish: str) -> None:
        """Ask for pictures (SAMPLE) or a checkpoint (SAVE) after the current update."""
        atomic.write_file(self.wishes[wish], "please\n")

    def take_wishes(self) -> list[str]:
        """What was asked for since the last call."""
        asked = [wish for wish, file in self.wishes.items() if file.exists()]
        for wish in asked:
            self.wishes[wish].unlink(missing_ok=True)
        return asked


def updates_in(checkpoints: Path) -> list[int]:
    """The updates with a complete checkpoint in that folder, oldest first."""
    return sorted(int(path.name) for path in checkpoints.glob("[0-9]*") if path.name.isdigit())


def is_alive(pid: int, started: float) -> bool:
    """Whether that very process still runs: process ids are reused, start times are not."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # what may not be looked at is somebody else's
        return False


def all_runs(root: Path) -> list[RunFolder]:
    """Every run below `root`, newest first; as for `below`, a link to elsewhere is none."""
    folders = [path.parent for path in root.glob("*/recipe.yaml")]
    found = [RunFolder(path) for path in folders if NAME.fullmatch(path.name) and not path.is_symlink()]
    return sorted(found, key=lambda run: (run.recipe_file.stat().st_mtime, run.name), reverse=True)


def find(root: Path, name: str) -> RunFolder:
    """The run of that name directly below `root`, or else at that path. Raises UsageError."""
    below = [root / name] if name and Path(name).name == name != ".." else []
    for candidate in (*below, Path(name)):
        if (candidate / "recipe.yaml").is_file():
            return RunFolder(candidate)
    known = ", ".join(run.name for run in all_runs(root)[:8]) or "none yet"
    raise UsageError(f"There is no run `{name}`.", action=f"Runs here: {known}.")


def below(root: Path, name: str) -> RunFolder:
    """The run of that name directly below `root`, for names that a page sent: none leads anywhere else.

    Raises UsageError.
    """
    if not name:
        raise UsageError("No run is chosen.", action="Open one from the list.")
    path = root / name
    if not NAME.fullmatch(name) or path.is_symlink() or not (path / "recipe.yaml").is_file():
        raise UsageError(f"There is no run “{name}” here.", action="It may have been moved or deleted.")
    return RunFolder(path)


def default_root() -> Path:
    """Where runs go unless told otherwise: $PALATE_RUNS, or `runs` in the current folder."""
    return Path(os.environ.get("PALATE_RUNS", "runs"))


def cache_root() -> Path:
    """Palate's own cache: $PALATE_CACHE, or the user's cache folder."""
    return Path(os.environ.get("PALATE_CACHE") or Path.home() / ".cache" / "palate")
