"""What a run says of itself stays true when its process is gone, its log is torn or its name is taken."""

import json
import os
import time
from pathlib import Path

import psutil
import pytest

from toolkit import recipe, run_folder
from toolkit.errors import UsageError
from toolkit.run_folder import DONE, INTERRUPTED, QUEUED, RUNNING, RunFolder

CONTENT = recipe.parse({"name": "mine", "words": {"positive": "a", "negative": "b"}, "training": {"updates": 9}})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "runs", CONTENT)


def test_a_fresh_run_holds_its_recipe_and_waits(run: RunFolder) -> None:
    assert run.recipe() == CONTENT
    assert run.state().status == QUEUED
    assert run.state().updates == 9
    assert run.state().is_active
    assert (run.events(), run.preview_pictures(), run.checkpoint_updates(), run.lora_files()) == ([], [], [], [])


def test_a_lora_that_is_still_being_written_is_not_listed(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, CONTENT)
    run.lora.mkdir()
    for name in (".mine.x7.safetensors", "mine.safetensors"):
        (run.lora / name).touch()
    assert [path.name for path in run.lora_files()] == ["mine.safetensors"]
    (run.lora / "mine_comfyui.safetensors").touch()
    assert [path.name for path in run.lora_files()] == ["mine.safetensors", "mine_comfyui.safetensors"]


def test_names_are_unique_below_a_root(tmp_path: Path) -> None:
    names = [RunFolder.create(tmp_path, CONTENT).name for _ in range(3)]
    assert names == ["mine", "mine-2", "mine-3"]
    assert {run.name for run in run_folder.all_runs(tmp_path)} == set(names)


def test_an_exact_folder_must_be_empty(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path / "here", CONTENT, exact=True).path == tmp_path / "here"
    with pytest.raises(UsageError, match="is not empty"):
        RunFolder.create(tmp_path / "here", CONTENT, exact=True)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="cannot be written"):
            RunFolder.create(root, CONTENT)
        with pytest.raises(UsageError, match="cannot be written"):
            RunFolder.create(root, CONTENT, exact=True)


def test_a_run_is_alive_while_its_very_process_is(run: RunFolder) -> None:
    run.claim(update=4)
    assert run.state().status == RUNNING
    assert run.state().pid == os.getpid()


def test_a_run_whose_process_is_gone_reads_as_interrupted(run: RunFolder) -> None:
    run.claim(update=4)
    gone = max(psutil.pids()) + 100_000
    run.write_state(RUNNING, pid=gone)
    state = run.state()
    assert state.status == INTERRUPTED
    assert not state.is_active
    assert "Interrupted at update 4" in state.message
    assert "Resume" in state.message


def test_a_reused_process_id_is_not_mistaken_for_the_run(run: RunFolder) -> None:
    run.claim()
    run.write_state(RUNNING, pid_started=psutil.Process().create_time() - 3600)
    assert run.state().status == INTERRUPTED


def test_a_finished_run_needs_no_process(run: RunFolder) -> None:
    run.claim()
    run.write_state(DONE, pid=0, message="Finished.")
    assert (run.state().status, run.state().message) == (DONE, "Finished.")


def test_a_missing_or_broken_state_reads_as_interrupted(run: RunFolder) -> None:
    run.state_file.write_text('{"status": "runn')
    assert run.state().status == INTERRUPTED
    run.state_file.unlink()
    assert run.state().status == INTERRUPTED


def test_facts_not_given_keep_their_value_and_unknown_ones_do_no_harm(run: RunFolder) -> None:
    run.write_state(RUNNING, update=3, of_a_newer_version=True)
    run.write_state(RUNNING, pid=0)
    assert run.state().update == 3
    assert json.loads(run.state_file.read_text())["heartbeat"] == pytest.approx(time.time(), abs=60)


def test_a_torn_last_line_is_left_out(run: RunFolder) -> None:
    run.events_file.write_bytes(b'{"kind": "start"}\n{"kind": "update", "update": 1}\n{"kind": "upd')
    assert [event["kind"] for event in run.events()] == ["start", "update"]
    assert run.events("update") == [{"kind": "update", "update": 1}]


def test_only_finished_files_count(run: RunFolder) -> None:
    for name in ("000020_01.webp", "000000_00.webp", ".000020_02.x.webp", "notes_x.webp"):
        (run.previews / name).parent.mkdir(exist_ok=True)
        (run.previews / name).touch()
    for name in ("000020", "000004", ".000024.half", "000004.old"):
        (run.checkpoints / name).mkdir(parents=True)
    assert [(p.update, p.prompt_index) for p in run.preview_pictures()] == [(0, 0), (20, 1)]
    assert run.checkpoint_updates() == [4, 20]


def test_a_run_is_found_by_name_and_by_path(run: RunFolder) -> None:
    root = run.path.parent
    assert run_folder.find(root, "mine").path == run.path
    assert run_folder.find(Path("nowhere"), str(run.path)).path == run.path


@pytest.mark.parametrize("name", ["../mine", "..", ".", "", "deep/../../mine", "nine"])
def test_a_name_never_leads_out_of_the_root(run: RunFolder, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = run.path.parent / "other"
    (root / "deep").mkdir(parents=True)
    (root / "recipe.yaml").write_text("name: not-a-run-of-this-root")
    monkeypatch.chdir("/")
    with pytest.raises(UsageError, match="Runs here: none yet"):
        run_folder.find(root, name)


def test_the_root_can_be_set_for_all_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALATE_RUNS", "elsewhere")
    assert run_folder.default_root() == Path("elsewhere")
    monkeypatch.delenv("PALATE_RUNS")
    assert run_folder.default_root() == Path("runs")


def test_links_and_odd_names_are_no_runs(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for folder in (root / "run", root / "<odd>", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text("name: run")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    assert [run.name for run in run_folder.all_runs(root)] == ["run"]
