"""The command line answers at once, refuses in words, and never shows a traceback."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import toolkit
from toolkit import pairs

HOME = str(Path(toolkit.__file__).parents[1])
RECIPE = "words: {positive: 3d render, negative: line art}\n"


def palate(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The real thing, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": HOME}
    return subprocess.run(
        [sys.executable, "-m", "toolkit.cli", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_help_answers_in_half_a_second(tmp_path: Path) -> None:
    """Processor time, the best of three: on a busy machine the clock measures the neighbours."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = palate("--help", cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert result.returncode == 0
    assert "train" in result.stdout
    assert "Examples" in result.stdout
    assert min(seconds) < 0.5


def test_version_and_help_of_every_command(call) -> None:
    assert call("--version") == (0, f"palate {toolkit.__version__}\n", "")
    for command in (
        "demo",
        "train",
        "resume",
        "sample",
        "compare",
        "runs",
        "recipes",
        "words",
        "plan",
        "doctor",
        "queue",
        "reward",
    ):
        code, out, _ = call(command, "--help")
        assert (code, "Usage: palate" in out) == (0, True), command


def test_without_a_command_the_help_is_shown(call) -> None:
    code, out, err = call()
    assert code == 2
    assert "Usage: palate" in out + err
    assert "palate: Usage" not in out + err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["No such command", "palate --help"]),
        (["train"], ["Missing argument"]),
        (["train", "demo", "--colour"], ["No such option"]),
        (["train", "demo", "--processes", "0"], ["--processes"]),
        (["train", "dmo"], ["There is no ready recipe `dmo`.", "Did you mean `demo`?"]),
        (["train", "my.yaml"], ["The recipe `my.yaml` does not exist.", "palate recipes"]),
        (["train", "."], ["recipe"]),
        (["train", "demo", "--set", "training.upates=5"], ["`training.upates`", "Did you mean `updates`?"]),
        (["train", "demo", "--set", "updates"], ["KEY=VALUE"]),
        (["train", "demo", "--set", "training.updates=many"], ["training.updates"]),
        (["train", "demo", "--set", "prompts.train=no.txt"], ["no.txt", "does not exist"]),
        (["train", "demo", "--set", "prompts.train=empty.txt"], ["empty.txt", "holds no prompt"]),
        (["train", "demo", "--set", "reward=demo_judge"], ["`demo_judge` judges the final report"]),
        (["train", "demo", "--set", "reward=demo_second"], ["both trained on and used to choose"]),
        (["train", "demo", "--output", "empty.txt"], ["cannot be written"]),
        (["train", "demo", "--output", "."], ["is not empty"]),
        (["resume", "nobody"], ["There is no run `nobody`.", "none yet"]),
        (["compare", "nobody"], ["There is no run `nobody`."]),
        (["sample", "nobody"], ["Missing option", "--prompt"]),
        (["sample", "nobody", "--prompt", "a cat"], ["There is no run `nobody`."]),
        (["words", "Soft light", "soft light"], ["the two must differ"]),
    ],
)
def test_wrong_use_is_refused_in_words_with_exit_code_2(
    call, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("palate: ")
    for word in words:
        assert word in err
    assert "Value error" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["empty.txt"]


def test_a_dry_run_prints_the_recipe_and_the_command_and_writes_nothing(call, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    code, out, _ = call("train", "mine.yaml", "--set", "training.updates=7", "--dry-run")
    assert code == 0
    assert "updates: 7" in out
    assert "-m training train" in out
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_lists_are_shown(call) -> None:
    assert "3d render" in call("words")[1]
    assert "demo" in call("recipes")[1]
    assert "No runs in runs yet. Next: palate demo" in call("runs")[1]


def test_problems_go_to_stderr_without_a_traceback(tmp_path: Path) -> None:
    """The same in a real process, where an uncaught exception would show."""
    (tmp_path / "mine.yaml").write_text(RECIPE + "traning: {}\n")
    result = palate("train", "mine.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "palate: Unknown recipe key `traning`.\n  Did you mean `training`?\n"


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_before_anything_started_is_exit_code_130(tmp_path: Path) -> None:
    """`palate words A B` waits for a backend that never answers."""
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "__init__.py").touch()
    started = tmp_path / "started"
    backend = f"import pathlib, time\npathlib.Path({str(started)!r}).touch()\ntime.sleep(60)"
    (tmp_path / "training" / "__main__.py").write_text(backend)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), HOME])}
    child = subprocess.Popen(
        [sys.executable, "-m", "toolkit.cli", "words", "a", "b"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip  # a background job, such as a CI's, ignores Ctrl-C and so would its children
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)  # the command is now waiting for an answer
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to all of the foreground
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert "Stopped." in err


SIDES = {"chosen": "a.png", "rejected": "b.png"}
MALFORMED = {
    "a missing side": ({**SIDES, "rejected": "gone.png"}, "missing picture"),
    "another aspect": ({**SIDES, "rejected": "tall.png"}, "different aspect ratios"),
    "a contradiction": ({"chosen": "b.png", "rejected": "a.png"}, "contradictory labels"),
    "a tie": ({"a": "a.png", "b": "b.png", "label": 0.5}, "tie"),
    "a torn picture": ({**SIDES, "rejected": "torn.png"}, "broken picture"),
}


@pytest.mark.parametrize("usable", [True, False])
@pytest.mark.parametrize(("entry", "reason"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_set_of_pairs_is_told_of_in_words(call, tmp_path: Path, entry, reason: str, usable: bool) -> None:
    """What is wrong, how often, where and what to do; 0 while some of it is usable, 2 when nothing is."""
    for name, size in (("a", (8, 8)), ("b", (16, 16)), ("c", (8, 8)), ("tall", (8, 16))):
        Image.effect_noise(size, 10 + ord(name[0])).save(tmp_path / f"{name}.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    lines = [{"prompt": "p", **entry}] + [{"prompt": "p", **SIDES}] * (reason == "contradictory labels")
    lines += [{"prompt": "p", "chosen": "a.png", "rejected": "c.png"}] * usable
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    code, said, complaint = call("pairs", "check", "pairs.jsonl")
    told = said if usable else complaint
    assert code == (0 if usable else 2)
    assert reason in told
    assert "line 1" in told
    assert pairs.ADVICE[reason] in told
    assert "Traceback" not in said + complaint


def test_a_data_set_is_checked_in_words(call, tmp_path: Path) -> None:
    for side, colour in (("chosen", 10), ("rejected", 200)):
        (tmp_path / "mine" / side).mkdir(parents=True)
        Image.new("RGB", (8, 8), (colour, 0, 0)).save(tmp_path / "mine" / side / "1.png")
    (tmp_path / "mine" / "chosen" / "1.txt").write_text("a cat")
    (tmp_path / "mine" / "chosen" / "2.png").write_bytes(b"")
    code, said, _ = call("pairs", "check", "mine")
    assert code == 0
    assert said.splitlines()[0] == "mine: 1 pair kept, 1 dropped."
    assert "1  missing picture: rejected/2" in said
    line = {"prompt": "a cat", "chosen": "chosen/1.png", "rejected": "rejected/1.png", "mask": "rejected/1.png"}
    (tmp_path / "mine" / "masked.jsonl").write_text(json.dumps(line))
    assert "1  of them with a mask" in call("pairs", "check", "mine/masked.jsonl")[1]
    code, _, complaint = call("pairs", "check", "mine", "--kind", "likes")
    assert code == 2
    assert "`liked/` and `disliked/`" in complaint
