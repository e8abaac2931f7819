"""Starting, stopping and resuming runs for the pages: each asks once, however often a button is pressed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from toolkit import launch
from toolkit.errors import UsageError
from toolkit.plan import preflight
from toolkit.run_folder import RunFolder
from toolkit.studio import reading, recipe_form

REMEMBERED = 1000


class Launcher:
    """Starts runs below one root."""

    def __init__(self, root: Path) -> None:
        """root: the folder of all runs."""
        self.root = root
        self._lock = threading.Lock()
        self._started: OrderedDict[str, str] = OrderedDict()

    def start(self, content: str, ticket: str) -> str:
        """Start a run of this YAML and return its name; the same ticket gives the same run.

        Raises UsageError when anything about it cannot work; then nothing was started.
        """
        with self._lock:
            if ticket and ticket in self._started:
                return self._started[ticket]
            recipe = recipe_form.parse(content)
            preflight(recipe, self.root)
            run = RunFolder.create(self.root, recipe)
            launch.start(run)
            self._started[ticket] = run.name
            while len(self._started) > REMEMBERED:
                self._started.popitem(last=False)
            return run.name

    def resume(self, name: str) -> None:
        """Go on from the last checkpoint; a run that is already at work is left alone. Raises UsageError."""
        with self._lock:
            run = reading.find(self.root, name)
            if reading.view(run).can_resume:
                launch.start(run)

    def stop(self, name: str) -> None:
        """Ask a run to end at its next update. Raises UsageError when there is no such run."""
        reading.find(self.root, name).request_stop()

    def request(self, name: str, wish: str) -> None:
        """Ask a run at work for pictures or a checkpoint. Raises UsageError when there is none, or it has ended."""
        run = reading.find(self.root, name)
        if not run.state().is_active:
            raise UsageError("The run has ended: nothing can be asked of it.", action="Resume it first.")
        run.request(wish)
