from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit import launch
from toolkit.errors import UsageError
from toolkit.run_folder import DONE, SAMPLE, STOPPED, RunFolder, all_runs
from toolkit.studio import recipe_form
from toolkit.studio.launching import Launcher

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(launch, "start", lambda run: names.append(run.name))
    return names


def test_one_ticket_starts_one_run_however_often_it_is_shown(tmp_path: Path, started: list[str]) -> None:
    launcher = Launcher(tmp_path)
    names = {launcher.start(recipe_form.first(), "ticket") for _ in range(3)}
    assert (len(names), len(started), len(all_runs(tmp_path))) == (1, 1, 1)
    assert launcher.start(recipe_form.first(), "another") not in names


@pytest.mark.parametrize(
    "content", ["nonsense", "name: a/b", "prompts: {train: missing.txt}\nwords: {positive: a, negative: b}"]
)
def test_what_cannot_work_starts_nothing(tmp_path: Path, started: list[str], content: str) -> None:
    with pytest.raises(UsageError):
        Launcher(tmp_path).start(content, "ticket")
    assert (started, list(tmp_path.iterdir())) == ([], [])


def test_resume_starts_what_ended_early_and_leaves_a_finished_run_alone(make_run: MakeRun, started: list[str]) -> None:
    stopped, done = make_run("stopped", STOPPED), make_run("done", DONE)
    launcher = Launcher(stopped.path.parent)
    launcher.resume("stopped")
    launcher.resume(done.name)
    assert started == ["stopped"]


def test_stop_leaves_a_note_that_the_run_finds(make_run: MakeRun) -> None:
    run: RunFolder = make_run()
    Launcher(run.path.parent).stop(run.name)
    assert run.stop_file.exists()
    with pytest.raises(UsageError):
        Launcher(run.path.parent).stop("../taste")


def test_wishes_reach_a_run_at_work_and_no_other(make_run: MakeRun) -> None:
    run = make_run("done", DONE)
    launcher = Launcher(run.path.parent)
    with pytest.raises(UsageError, match="ended"):
        launcher.request("done", SAMPLE)
    run.claim()
    launcher.request("done", SAMPLE)
    assert run.take_wishes() == [SAMPLE]
