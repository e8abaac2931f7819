from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolkit.errors import UsageError
from toolkit.run_folder import DONE, FAILED, INTERRUPTED, RUNNING, STOPPED, RunFolder
from toolkit.studio import reading

MakeRun = Callable[..., RunFolder]

NOBODY = {"pid": 2**22 - 3, "pid_started": 1.0}  # above the largest process id of any system we run on


def test_a_finished_run_reads_as_its_verdict(make_run: MakeRun) -> None:
    view = reading.view(make_run(best=20))
    assert (view.update, view.updates, view.best) == (20, 20, 20)
    assert view.sentence == "Finished 20 of 20 updates. Best checkpoint 20 kept."
    assert [path.name for path in view.lora_files] == ["taste.safetensors"]
    assert view.shown_update == 20
    assert not view.can_resume


def test_the_best_check_is_shown_and_not_the_last(make_run: MakeRun) -> None:
    view = reading.view(make_run(best=10))
    assert view.shown_check is not None
    assert view.shown_check["update"] == view.shown_update == 10


def test_a_run_that_kept_the_base_still_shows_what_it_tried(make_run: MakeRun) -> None:
    view = reading.view(make_run(best=0))
    assert view.kept_base
    assert view.shown_update == 20


def test_a_dead_process_reads_as_interrupted_and_can_be_resumed(make_run: MakeRun) -> None:
    view = reading.view(make_run(status=RUNNING, best=None, update=13, **NOBODY))
    assert view.state.status == INTERRUPTED
    assert view.can_resume
    assert view.sentence == "Interrupted at update 20. Resume goes on from checkpoint 20."
    assert view.lora_files == []


@pytest.mark.parametrize("status", [STOPPED, FAILED])
def test_a_run_that_ended_early_can_be_resumed(make_run: MakeRun, status: str) -> None:
    assert reading.view(make_run(status=status, best=None)).can_resume


def test_a_verdict_before_a_resume_is_history(told: SimpleNamespace, make_run: MakeRun) -> None:
    run = make_run(best=10, status=RUNNING)
    told.append(run, {"kind": "checkpoint", "update": 20}, told.update(21))
    assert reading.view(run).verdict is None


def test_a_folder_with_a_broken_recipe_and_no_events_still_has_a_view(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "recipe.yaml").write_text("- not\n- a recipe\n")
    view = reading.view(RunFolder(tmp_path / "odd"))
    assert view.trouble
    assert (view.checks, view.previews, view.can_resume) == ([], {}, False)


def test_previews_of_a_check_that_is_still_being_written_are_not_shown(make_run: MakeRun) -> None:
    run = make_run()
    (run.previews / "000030_00.webp").write_bytes((run.previews / "000020_00.webp").read_bytes())
    assert sorted(reading.view(run).previews) == [0, 10, 20]


def test_the_time_left_counts_the_pace_of_the_last_updates(make_run: MakeRun) -> None:
    run = make_run(status=RUNNING, best=None, updates=120)
    assert reading.view(run).seconds_left == pytest.approx(100.0)  # one second an update, 100 to go


def test_the_log_keeps_its_last_lines_and_redrawn_ones_count_once(make_run: MakeRun) -> None:
    run = make_run()
    assert reading.log_tail(run) == "Loading\nupdate 2\nDone"
    run.log_file.write_text("".join(f"line {n}\n" for n in range(1000)))
    assert reading.log_tail(run).splitlines()[-1] == "line 999"
    assert len(reading.log_tail(run).splitlines()) <= reading.LOG_LINES
    assert reading.log_search(run, "LINE 99") == [f"line {n}" for n in (99, *range(990, 1000))]
    assert reading.log_search(run, "nothing of it") == []


def test_pictures_asked_for_between_checks_are_shown(told, make_run: MakeRun) -> None:
    run = make_run(best=None)
    (run.previews / "000013_00.webp").write_bytes((run.previews / "000010_00.webp").read_bytes())
    assert 13 not in reading.view(run).previews  # half of them may still be missing
    told.append(run, {"kind": "sample", "time": 1.0, "update": 13, "previews": ["000013_00.webp"]})
    assert 13 in reading.view(run).previews


@pytest.mark.parametrize("name", ["..", "../runs/taste", "/etc", "", ".", "taste/previews", "a\0b", ".hidden", "none"])
def test_no_name_leads_out_of_the_folder(make_run: MakeRun, name: str) -> None:
    root = make_run().path.parent
    assert reading.find(root, "taste").name == "taste"
    with pytest.raises(UsageError):
        reading.find(root, name)


def test_a_link_to_a_run_elsewhere_is_not_followed(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link").symlink_to(run.path)
    with pytest.raises(UsageError):
        reading.find(tmp_path / "other", "link")


def test_the_signature_changes_with_the_files_and_only_then(told: SimpleNamespace, make_run: MakeRun) -> None:
    run = make_run(status=DONE)
    before = reading.signature(run)
    assert reading.signature(run) == before
    told.append(run, told.update(21))
    assert reading.signature(run) != before


@pytest.mark.parametrize("count", [1, 5, 7, 8, 30, 101])
def test_few_keeps_the_first_the_last_and_the_best(count: int) -> None:
    updates = list(range(0, 10 * count, 10))
    for keep in updates:
        chosen = reading.few(updates, 7, keep)
        assert len(chosen) <= 7
        assert {updates[0], updates[-1], keep} <= set(chosen)
        assert chosen == sorted(chosen)


def test_diagnostics_name_no_place_of_this_machine(make_run: MakeRun) -> None:
    run = make_run()
    run.environment_file.write_text('{"device": "cpu"}')
    run.log_file.write_text(f"reading {run.path}/recipe.yaml\nTraceback in {Path.home()}/x.py\n")
    told = reading.diagnostics(reading.view(run))
    assert '"device": "cpu"' in told
    assert str(run.path) not in told
    assert f"{Path.home()}/" not in told
