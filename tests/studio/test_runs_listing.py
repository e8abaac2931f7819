"""The list of runs: order, search, filter, steps, and nothing in it that a name could break."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from toolkit import recipe
from toolkit.errors import UsageError
from toolkit.queue_store import Entry
from toolkit.run_folder import DONE, FAILED, INTERRUPTED, PAUSED, QUEUED, RUNNING, RunFolder
from toolkit.studio import reading, runs_markup
from toolkit.studio.launching import Launcher
from toolkit.studio.run_index import RunIndex
from toolkit.studio.runs_listing import STEP, Listing

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path / "runs")
    yield launcher
    launcher.close()


def plain(root: Path, name: str, status: str = DONE, **words: str) -> RunFolder:
    content = recipe.parse({"name": name, "words": {"positive": "3d render", "negative": "line art", **words}})
    run = RunFolder.create(root, content)
    run.write_state(status)
    return run


def names(content: str) -> list[str]:
    return re.findall(r'data-key="open-([^"]+)"', content)


def buttons(content: str, name: str) -> set[str]:
    return set(re.findall(rf'data-act="(\w+)" data-run="{name}"', content))


def test_the_line_comes_before_what_ended_and_says_its_places(launcher: Launcher, make_run: MakeRun) -> None:
    make_run("old")
    for name in ("a", "b"):
        launcher.queue.add(make_run(name, QUEUED).name)
    content = Listing(launcher).drawn()
    assert names(content) == ["a", "b", "old"]
    assert "Next in line." in content
    assert "One run goes before it." in content
    assert buttons(content, "a") == {"up", "down", "pause", "cancel", "duplicate"}
    assert buttons(content, "old") == {"duplicate"}
    assert re.search(r'data-act="up" data-run="a"[^>]* disabled', content)


def test_a_run_at_work_is_cancelled_only_after_a_second_look(make_run: MakeRun) -> None:
    view = reading.view(make_run("busy", RUNNING))
    content = runs_markup.card(view, Entry("busy", RUNNING, 0, 1, 1, ("0",)))
    assert "GPU 0" in content
    assert buttons(content, "busy") == {"pause", "cancel", "duplicate"}
    assert content.index("<details") < content.index('data-act="cancel"') < content.index("</details>")
    assert "Saved up to update 20" in content


STILL = (
    ([], False, ""),
    ([QUEUED], True, ""),
    ([PAUSED, QUEUED], True, ""),
    ([PAUSED, RUNNING], True, ""),
    ([PAUSED, DONE], True, "resume_all"),
    ([PAUSED, QUEUED], False, "work"),
)


@pytest.mark.parametrize(("states", "worked", "action"), STILL)
def test_a_line_that_stands_still_says_so_with_one_main_action(states: list[str], worked: bool, action: str) -> None:
    entries = [Entry(f"run-{place}", state, 0, place, 1) for place, state in enumerate(states)]
    content = runs_markup.attention(entries, is_worked=worked)
    assert content.count("primary") == bool(action)
    assert f'data-act="{action}"' in content or not action


def test_runs_are_shown_in_steps_and_found_by_name_word_and_state(launcher: Launcher) -> None:
    for number in range(STEP + 3):
        plain(launcher.root, f"run-{number:02d}", FAILED if number == 1 else DONE)
    plain(launcher.root, "odd", positive="Aquarell, naß")
    listing = Listing(launcher)
    assert len(names(listing.drawn())) == STEP
    assert "4 not shown" in listing.drawn()
    assert len(names(listing.drawn(shown=listing.act("more", "", STEP)))) == STEP + 4
    assert names(listing.drawn(search="AQUARELL")) == ["odd"]
    assert names(listing.drawn(search="run-01 render")) == ["run-01"]
    assert names(listing.drawn(state=FAILED)) == ["run-01"]
    assert "No run fits" in listing.drawn(search="run-01", state=INTERRUPTED)


def test_a_word_from_a_file_stays_text(launcher: Launcher) -> None:
    plain(launcher.root, "sly", positive="<script>alert(1)</script> ${run} {{x}}")
    content = Listing(launcher).drawn(search="<script>")
    assert names(content) == ["sly"]
    assert "<script>" not in content
    assert "${" not in content
    assert "{{" not in content


def test_unknown_actions_and_runs_are_refused(launcher: Launcher, make_run: MakeRun) -> None:
    make_run()
    listing = Listing(launcher)
    for what, name in (("delete", "taste"), ("cancel", "../taste"), ("pause", "none"), ("", "")):
        with pytest.raises(UsageError):
            listing.act(what, name, STEP)


def test_looking_changes_no_file(launcher: Launcher, make_run: MakeRun) -> None:
    run = make_run(status=RUNNING, pid=2**22 - 3, pid_started=1.0)
    before = {path: path.stat().st_mtime_ns for path in run.path.parent.rglob("*")}
    listing = Listing(launcher)
    assert listing.drawn() == listing.drawn(search="taste")
    assert {path: path.stat().st_mtime_ns for path in run.path.parent.rglob("*")} == before


def test_the_index_follows_what_happens(launcher: Launcher) -> None:
    index = RunIndex(launcher.root)
    assert index.rows() == []
    run = plain(launcher.root, "a", RUNNING)
    assert [row.state.status for row in index.rows()] == [RUNNING]
    run.write_state(DONE, update=7)
    assert [(row.state.status, row.state.update) for row in index.rows()] == [(DONE, 7)]
    (launcher.root / "b").mkdir()  # no run
    (launcher.root / "c").symlink_to(run.path)
    run.path.rename(launcher.root / "d")
    assert [row.name for row in index.rows()] == ["d"]


def test_a_process_that_dies_without_a_word_is_seen_at_the_next_look(launcher: Launcher, make_run: MakeRun) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    make_run("busy", RUNNING, best=None, pid=child.pid, pid_started=psutil.Process(child.pid).create_time())
    listing = Listing(launcher)
    assert "At work" in listing.drawn()
    child.kill()
    child.wait()
    assert "Interrupted at update 20." in listing.drawn()
    assert buttons(listing.drawn(), "busy") == {"resume", "duplicate"}
