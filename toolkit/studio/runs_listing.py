"""What the Runs page shows and what its buttons do; knows no Gradio."""

from __future__ import annotations

from toolkit.queue_reconciling import AT_WORK
from toolkit.queue_store import Entry
from toolkit.run_folder import RunFolder
from toolkit.run_queue import line
from toolkit.studio import reading, runs_markup
from toolkit.studio.launching import Launcher
from toolkit.studio.run_index import Row, RunIndex

STEP, MOST = 40, 10_000


class Listing:
    """The list of one root's runs. Cards are kept until a run's state, or its place in the line, changes."""

    def __init__(self, launcher: Launcher) -> None:
        """launcher: whose queue and runs."""
        self._launcher = launcher
        self._index = RunIndex(launcher.root)
        self._cards: dict[str, tuple[object, str]] = {}

    def drawn(self, search: str = "", state: str = "", shown: int = STEP) -> str:
        """The whole list; of runs that are neither at work nor in line, at most `shown`."""
        entries = self._launcher.queue.entries()
        by_name = {entry.name: entry for entry in entries}
        places = {entry.name: place for place, entry in enumerate(line(entries), 1)}
        rows = self._index.select(state, search)
        if not rows:
            return runs_markup.nothing_found() if search or state else runs_markup.empty()
        claimed = {entry.name for entry in entries if entry.state in AT_WORK}
        at_work = [row for row in rows if row.state.is_active and (row.state.pid or row.name in claimed)]
        waiting = [row for row in rows if row.name in places and row not in at_work]
        waiting.sort(key=lambda row: places[row.name])
        others = [row for row in rows if row not in at_work and row.name not in places]
        shown = min(max(shown, STEP), MOST)

        def cards(found: list[Row]) -> list[str]:
            return [self._card(row, by_name.get(row.name), places.get(row.name, 0)) for row in found]

        free = runs_markup.free(self._launcher.free_lanes())
        parts = [
            runs_markup.attention(entries, is_worked=self._launcher.queue.is_worked()),
            runs_markup.section("At work", cards(at_work), free),
            runs_markup.section("In line", cards(waiting), "" if at_work else free),
            runs_markup.section("Earlier" if at_work or waiting else "", cards(others[:shown])),
            runs_markup.more(len(others) - shown, STEP),
        ]
        return "".join(parts)

    def _card(self, row: Row, entry: Entry | None, place: int) -> str:
        stamp = (row.stamp, row.state, entry, place)
        known = self._cards.get(row.name)
        # While a process is at work, time alone changes what is shown.
        if known is None or known[0] != stamp or (row.state.is_active and row.state.pid):
            view = reading.view(RunFolder(self._launcher.root / row.name))
            known = self._cards[row.name] = (stamp, runs_markup.card(view, entry, place))
        return known[1]

    def act(self, what: str, name: str, shown: int) -> int:
        """What a button asks for. Returns how many old runs to show from now on. Raises UsageError."""
        if what == "more":
            return min(shown + STEP, MOST)
        if what == "work":
            self._launcher.work()
        elif what == "resume_all":
            self._launcher.resume_all()
        else:
            self._launcher.act(what, name)
        return shown
