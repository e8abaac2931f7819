"""What a run's page shows, read from its folder: no Gradio, no writing, quick enough for a tick every two seconds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from toolkit import prompts, run_folder
from toolkit.errors import UsageError
from toolkit.event_reader import Event, EventReader
from toolkit.loras.convert import readers
from toolkit.recipe import Recipe
from toolkit.run_folder import CANCELLED, DONE, FAILED, INTERRUPTED, PAUSED, STOPPED, Preview, RunFolder, State

LOG_LINES, LOG_BYTES, SEARCHED_BYTES = 200, 200_000, 8_000_000
find = run_folder.below
RECENT = 30  # updates that the estimate of the remaining time looks back on


class Readers:
    """Event readers of the runs looked at lately."""

    def __init__(self, most: int = 256) -> None:
        """most: how many runs are remembered."""
        self._most, self._lock = most, threading.Lock()
        self._readers: OrderedDict[Path, EventReader] = OrderedDict()

    def events(self, run: RunFolder) -> tuple[Event, ...]:
        """The run's events."""
        with self._lock:
            reader = self._readers.setdefault(run.events_file, EventReader(run.events_file))
            self._readers.move_to_end(run.events_file)
            while len(self._readers) > self._most:
                self._readers.popitem(last=False)
        return reader.read()


READERS = Readers()


@dataclass(frozen=True)
class View:
    """One run at one moment. A folder whose recipe cannot be read still has a view; `trouble` says why."""

    run: RunFolder
    state: State
    recipe: Recipe | None
    trouble: str
    events: tuple[Event, ...] = field(repr=False)

    def of(self, kind: str) -> list[Event]:
        """Events of one kind."""
        return [event for event in self.events if event["kind"] == kind]

    @cached_property
    def checks(self) -> list[Event]:
        """Every check; the first is the base's."""
        return [event for event in self.of("check") if isinstance(event.get("values"), dict)]

    @cached_property
    def verdict(self) -> Event | None:
        """How the run ended; None while it has not, also after a resume."""
        last = self.events[-1] if self.events else None
        return last if last and last["kind"] == "verdict" else None

    @cached_property
    def update(self) -> int:
        """The update the run has reached."""
        done = [event["update"] for event in self.of("update")[-1:]]
        return max([self.state.update, *done])

    @property
    def updates(self) -> int:
        """The update the run is to reach."""
        return self.state.updates or (self.recipe.training.updates if self.recipe else 0)

    @cached_property
    def best(self) -> int:
        """The checkpoint whose LoRA is kept: the verdict's, 0 being the base."""
        return int(self.verdict["best"]) if self.verdict else 0

    @property
    def kept_base(self) -> bool:
        """Whether the run ended with nothing better than the base."""
        return self.verdict is not None and self.best == 0

    @cached_property
    def seconds_left(self) -> float | None:
        """Estimated from the last updates, checks included."""
        recent = self.of("update")[-RECENT:]
        if not self.state.is_active or len(recent) < 2:
            return None
        span, count = recent[-1]["time"] - recent[0]["time"], recent[-1]["update"] - recent[0]["update"]
        return max(0.0, span / count * (self.updates - self.update)) if count > 0 else None

    @cached_property
    def shown_check(self) -> Event | None:
        """The check that the numbers are about: the kept one's when the run has ended so, else the newest."""
        after_base = self.checks[1:]
        kept = [check for check in after_base if self.best and check["update"] == self.best]
        return (kept or after_base or [None])[-1]

    @cached_property
    def previews(self) -> dict[int, dict[int, Preview]]:
        """update → prompt → picture, of finished checks and of what was asked for between them."""
        finished = {event["update"] for event in (*self.checks, *self.of("sample"))}
        table: dict[int, dict[int, Preview]] = {}
        for preview in self.run.preview_pictures():
            if preview.update in finished:
                table.setdefault(preview.update, {})[preview.prompt_index] = preview
        return table

    @cached_property
    def shown_update(self) -> int | None:
        """The update whose pictures stand for the run's result: None before the first check after the base's."""
        if self.best in self.previews and self.best:
            return self.best
        later = [update for update in self.previews if update]
        return max(later, default=None)

    @cached_property
    def prompts(self) -> list[str]:
        """What the preview pictures show, by prompt index."""
        if self.recipe is None or not self.previews:
            return []
        try:
            return [prompt.text for prompt in prompts.read(self.recipe.prompts.validation)[:64]]
        except UsageError:
            return []

    def prompt(self, index: int) -> str:
        """One preview's prompt, or its number when the list is gone."""
        return self.prompts[index] if index < len(self.prompts) else f"prompt {index + 1}"

    @cached_property
    def lora_files(self) -> list[Path]:
        """The finished LoRA files of a run that has ended; never one that is still being written."""
        if self.state.status not in (DONE, STOPPED):
            return []
        return self.run.lora_files()

    @property
    def lora_readers(self) -> tuple[str, ...]:
        """Which programs read each of `lora_files`."""
        return readers(self.recipe.base.name if self.recipe else "")

    @property
    def can_resume(self) -> bool:
        """Whether going on makes sense: it ended before its budget did, or nothing ever worked on it."""
        ended_early = self.state.status in (STOPPED, FAILED, INTERRUPTED, PAUSED, CANCELLED)
        return self.recipe is not None and (self.is_waiting or ended_early)

    @property
    def is_waiting(self) -> bool:
        """Whether it has no process yet."""
        return self.state.is_active and not self.state.pid

    @property
    def title(self) -> str:
        """The run's name."""
        return self.run.name

    @property
    def sentence(self) -> str:
        """The one sentence that says how things stand."""
        if self.trouble:
            return self.trouble
        if self.state.status in (DONE, STOPPED) and self.verdict:
            return str(self.verdict["sentence"])
        if self.state.status == INTERRUPTED:
            return f"Interrupted at update {self.update}. " + (
                f"Resume goes on from checkpoint {kept[-1]}."
                if (kept := self.run.checkpoint_updates())
                else "Resume starts again."
            )
        if self.state.message:
            return self.state.message
        if self.is_waiting:
            return "Waits in the queue."
        return "Starting: the base is loading." if self.state.is_active else "It ended without a word: see its log."


def view(run: RunFolder) -> View:
    """Read a run folder. Never raises for what a run may have left behind."""
    recipe, trouble = _recipe(run.path, _stamp(run.recipe_file))
    return View(run, run.state(), recipe, trouble, READERS.events(run))


@lru_cache(maxsize=512)
def _recipe(path: Path, stamp: tuple[int, int]) -> tuple[Recipe | None, str]:
    """The recipe of a run folder or why there is none; read again only when the file changed."""
    try:
        return RunFolder(path).recipe(), ""
    except UsageError as error:
        return None, str(error)


def signature(run: RunFolder) -> tuple[object, ...]:
    """Changes whenever a view of the run might: file times, sizes, and whether the process still lives."""
    places = (
        run.state_file, run.events_file, run.log_file, run.recipe_file, run.lora, run.previews, run.stop_file,
        *run.wishes.values(),
    )  # fmt: skip
    return (run.name, run.state().status, *(_stamp(path) for path in places))


def is_busy(run: RunFolder) -> bool:
    """Whether time alone changes what is shown, such as an estimate or a process that may have died."""
    return run.state().is_active


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def log_tail(run: RunFolder) -> str:
    """The last lines of the run's log; a line that redraws itself with carriage returns counts once."""
    return "\n".join(_log_lines(run, LOG_BYTES)[-LOG_LINES:]).strip("\n")


def log_search(run: RunFolder, wanted: str) -> list[str]:
    """The last lines of the log that contain the text, whatever its case; of a huge log, of its end."""
    return [line for line in _log_lines(run, SEARCHED_BYTES) if wanted.casefold() in line.casefold()][-LOG_LINES:]


def _log_lines(run: RunFolder, most_bytes: int) -> list[str]:
    try:
        with run.log_file.open("rb") as file:
            start = max(0, file.seek(0, 2) - most_bytes)
            file.seek(start)
            content = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in content.split("\n")]
    return lines[1:] if start else lines


def diagnostics(view: View) -> str:
    """State, versions and the last log lines of a run, without the places and names of this machine."""
    try:
        environment = view.run.environment_file.read_text(encoding="utf-8").strip()
    except OSError:
        environment = "no environment was recorded"
    state = f"{view.state.status} at update {view.update} of {view.updates}: {view.sentence}"
    content = f"{state}\n\n{environment}\n\n" + "\n".join(log_tail(view.run).splitlines()[-20:])
    places = (
        (str(view.run.path), "<run>"),
        (str(Path.home()), "~"),
        (str(Path(__file__).resolve().parents[2]), "<palate>"),
    )
    for place, shown in places:
        content = content.replace(place, shown)
    return content


def few(updates: Sequence[int], most: int, keep: int = 0) -> list[int]:
    """At most `most` of the updates, evenly spread: the first, the last and `keep` always among them."""
    if len(updates) <= most:
        return list(updates)
    places = {round(i * (len(updates) - 1) / (most - 1)) for i in range(most)}
    chosen = {updates[place] for place in places}
    if keep in updates and keep not in chosen:
        inner = sorted(chosen - {updates[0], updates[-1]}, key=lambda update: abs(update - keep))
        chosen = (chosen - set(inner[:1])) | {keep}
    return sorted(chosen)
