"""What the commands print and refuse, without starting anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit import commands, doctor, launch, recipe, run_folder
from toolkit.errors import PalateError, UsageError
from toolkit.run_folder import DONE, RunFolder

CONTENT = recipe.parse({"name": "mine", "words": {"positive": "a", "negative": "b"}})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, CONTENT)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], {}),
        (["training.updates=50"], {"training.updates": 50}),
        (["a=1.5", "b=true", "c=text", "d="], {"a": 1.5, "b": True, "c": "text", "d": None}),
        (["words={positive: x, negative: y}"], {"words": {"positive": "x", "negative": "y"}}),
        (["name=a=b"], {"name": "a=b"}),
        (["a=1", "a=2"], {"a": 2}),
    ],
)
def test_settings_are_read_as_yaml(settings: list[str], expected: dict) -> None:
    assert commands.overrides(settings) == expected


@pytest.mark.parametrize("setting", ["updates", "=5", "", "a=[1,"])
def test_a_setting_that_is_none_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        commands.overrides([setting])


def test_prompt_files_given_by_hand_count_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those inside a recipe count from the recipe's folder."""
    monkeypatch.chdir(tmp_path)
    settings = commands.overrides(["prompts.train=mine.txt", "prompts.test=demo:test"])
    assert settings == {"prompts.train": str(tmp_path / "mine.txt"), "prompts.test": "demo:test"}


def test_ready_recipes_are_found_by_name() -> None:
    assert commands.ready_recipe("demo").name == "demo.yaml"
    with pytest.raises(UsageError, match="Did you mean `demo`"):
        commands.ready_recipe("demmo")


def test_a_ready_recipe_wins_over_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    commands.train(Path("demo"), ["training.updates=3"], None, None, processes=1, quiet=True, dry_run=True)
    shown = capsys.readouterr().out
    assert "updates: 3" in shown
    assert not (tmp_path / "runs").exists()


def test_runs_are_listed_with_their_state(run: RunFolder, capsys: pytest.CaptureFixture) -> None:
    commands.list_runs(run.path.parent / "none")
    assert "No runs in" in capsys.readouterr().out
    run.write_state(DONE, update=5, message="Finished 5 of 5 updates.")
    commands.list_runs(run.path.parent)
    shown = capsys.readouterr().out
    assert "mine" in shown
    assert "done" in shown
    assert "5/" in shown


def test_a_run_without_a_lora_has_nothing_to_show(run: RunFolder) -> None:
    with pytest.raises(UsageError, match="has no LoRA yet"):
        commands.compare(run)
    with pytest.raises(UsageError, match="has no LoRA yet"):
        commands.sample("mine", run.path.parent, "a cat", run.path, count=1, strength=1.0, steps=1)


def test_a_failing_backend_is_quoted_not_dumped(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run.lora.mkdir()
    (run.lora / "mine.safetensors").touch()
    code = "import sys; print('Traceback ...', file=sys.stderr); sys.exit('What happened. What to do.')"
    pipe = subprocess.PIPE

    def failing(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code], cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    monkeypatch.setattr(launch, "backend", failing)
    with pytest.raises(PalateError) as caught:
        commands.compare(run, quiet=True)
    assert str(caught.value) == "What happened. What to do."
    assert caught.value.exit_code == 1


def test_an_unknown_run_is_refused_with_the_known_ones(run: RunFolder) -> None:
    with pytest.raises(UsageError, match=r"There is no run `other`\. Runs here: mine"):
        commands.find("other", run.path.parent)
    assert commands.find("mine", run.path.parent).path == run.path
    assert run_folder.find(run.path.parent, "mine").path == run.path


def test_the_doctor_ends_badly_only_when_something_prevents_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    found = [doctor.Finding("ok", "python", "Python [3.12]."), doctor.Finding("note", "gpu", "No GPU was found.")]
    monkeypatch.setattr(doctor, "examine", lambda output, online: found)
    assert commands.doctor(tmp_path, online=False, as_json=False)
    assert "ok    python       Python [3.12]." in capsys.readouterr().out
    found.append(doctor.Finding("stop", "disk", "1.0 MB are free."))
    assert not commands.doctor(tmp_path, online=False, as_json=True)
    assert json.loads(capsys.readouterr().out)[2] == {"state": "stop", "about": "disk", "sentence": "1.0 MB are free."}


def test_a_plan_refuses_what_a_run_would(tmp_path: Path) -> None:
    options = {"memory": None, "processes": 1, "output": None, "table": False, "as_json": False}
    with pytest.raises(UsageError, match="Did you mean `demo`"):
        commands.plan(Path("demmo"), [], **options)
    with pytest.raises(UsageError, match=r"Unknown recipe key `lora\.rnk`"):
        commands.plan(Path("demo"), ["lora.rnk=3"], **options)
