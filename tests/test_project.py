"""Rules about the project as a whole that no single module can keep: light imports, sizes, arrows, paths, packaging."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("toolkit", "training", "comfy_nodes")
LONGEST_FILE = 500  # lines; from 300 on, look for the seam
SHIPPED = ("demo_world", "recipes", "toolkit", "comfy_nodes")
SHIPPED_SUFFIXES = {".json", ".jsonl", ".safetensors", ".webp", ".jpg", ".svg", ".txt", ".yaml", ".md", ".css", ".js"}

# Written with brackets so that this file does not find itself.
FORBIDDEN_TEXT = re.compile(
    r"/wor[k]/|/hom[e]/\w|/Use[r]s/\w|/roo[t]/|[A-Z]:\\Use[r]s\\"  # paths of one person's machine
    r"|pyp[i]\.org|files\.python[h]osted|registry\.npm[j]s|deb\.debia[n]"  # registries: name the package, not the host
)


def project_files() -> list[Path]:
    """Every file that is in version control or would enter it, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = {name for name in listed.stdout.decode().split("\0") if name}
    return sorted(ROOT / name for name in names if (ROOT / name).is_file())


def imported_modules(path: Path) -> set[str]:
    """Full names of all modules a file imports, wherever in the file; relative ones keep their dots."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


@pytest.mark.parametrize(
    "module", ["toolkit", "toolkit.cli", "toolkit.recipe", "toolkit.run_folder", "toolkit.run_queue"]
)
def test_importing_the_toolkit_loads_nothing_heavy(module: str) -> None:
    heavy = ["torch", "gradio", "diffusers", "transformers", "training"]
    code = f"import sys, {module}; print(*[name for name in {heavy} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_no_file_has_outgrown_its_room() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_app_knows_only_the_studio() -> None:
    app = ROOT / "app.py"
    ours = {name for name in imported_modules(app) if name.split(".")[0] in (*ROOMS, "demo_world")}
    assert ours
    assert {name for name in ours if name.split(".")[0] != "toolkit"} == set()
    assert len(app.read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("name", ["header.py", "demo_world/header.py"])
def test_the_header_contracts_need_only_the_standard_library(name: str) -> None:
    imported = imported_modules(ROOT / "comfy_nodes" / name)
    assert {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names} == set()


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in project_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # pictures and weights
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
            for number, line in enumerate(lines, 1)
            if FORBIDDEN_TEXT.search(line)
        ]
    assert found == []


@pytest.mark.slow
def test_a_built_wheel_carries_all_data_and_nothing_else(tmp_path: Path) -> None:
    """Built from a copy, so that the checkout keeps no build/ folder."""
    files = [path.relative_to(ROOT) for path in project_files()]
    source = tmp_path / "source"
    for path in files:
        (source / path.parent).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, source / path)
    leftover = source / "demo_world" / ".work" / "leftover.json"  # what a builder leaves behind stays at home
    leftover.parent.mkdir(parents=True, exist_ok=True)
    leftover.write_text("{}")

    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = tmp_path.glob("palate-*.whl")
    inside = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}

    expected = {path for path in files if path.parts[0] in SHIPPED and path.suffix in SHIPPED_SUFFIXES}
    expected |= {path for path in files if path.parts[0] in (*ROOMS, "demo_world") and path.suffix == ".py"}
    assert expected - inside == set()
    top_level = {path.parts[0] for path in inside if not path.parts[0].endswith(".dist-info")}
    assert top_level == {*ROOMS, "demo_world", "recipes"}
    assert [path for path in inside if ".work" in path.parts] == []
