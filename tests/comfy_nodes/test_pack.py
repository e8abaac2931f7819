"""The pack stands alone: relative imports, any folder name, no dependencies, a clone of the repository."""

from __future__ import annotations

import ast
import asyncio
import importlib
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

import toolkit

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "comfy_nodes"
COMFYUI = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "node_helpers", "nodes", "server"}
BROUGHT = {"torch", "safetensors", "numpy", "PIL", "tokenizers"}  # with every ComfyUI
FILES = sorted(PACK.rglob("*.py"))


def imports(path: Path) -> list[tuple[int, str]]:
    """(dots, module) of every import in the file."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACK)))
def test_only_itself_comfyui_and_what_comfyui_brings_are_imported(path: Path) -> None:
    allowed = COMFYUI | BROUGHT | set(sys.stdlib_module_names)
    assert [name for dots, name in imports(path) if not dots and name.split(".")[0] not in allowed] == []
    depth = len(path.relative_to(PACK).parts)
    assert [name for dots, name in imports(path) if dots > depth] == []


@pytest.mark.parametrize("path", sorted((PACK / "logic").glob("*.py")), ids=lambda path: path.name)
def test_logic_knows_no_comfyui(path: Path) -> None:
    assert [name for _, name in imports(path) if name.split(".")[0] in COMFYUI] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACK)))
def test_it_is_written_for_python_3_10(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


def test_it_loads_from_a_folder_with_a_dot_and_a_space(comfyui, tmp_path: Path) -> None:
    folder = tmp_path / "custom nodes" / "palate v1.0"
    shutil.copytree(PACK, folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = set(sys.modules)
    pack = comfyui.load(folder)
    nodes = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
    assert len(nodes) == len(importlib.import_module(f"{pack.__name__}.extension").NODES)
    ours = {name for name in set(sys.modules) - before if name.startswith(("comfy_nodes", "toolkit", "training"))}
    assert ours == set()


def test_a_clone_of_the_repository_gives_the_same_nodes(comfyui, tmp_path: Path) -> None:
    clone = tmp_path / "palate-main"
    shutil.copytree(PACK, clone / "comfy_nodes", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "__init__.py", clone / "__init__.py")
    before = set(sys.modules)
    pack = comfyui.load(clone)
    assert pack.WEB_DIRECTORY == "./comfy_nodes/web"
    nodes = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
    assert {node.define_schema().node_id for node in nodes} >= {"PalateLoadAlignedLora", "PalateStyleWords"}
    loaded = {name.split(".")[0] for name in set(sys.modules) - before}
    assert loaded & {"toolkit", "training", "comfy_nodes", "demo_world"} == set()


def test_it_asks_the_users_comfyui_for_nothing() -> None:
    about = tomllib.loads((PACK / "pyproject.toml").read_text(encoding="utf-8"))
    assert about["project"]["dependencies"] == []
    assert "comfyui" not in about["project"]["name"].lower()
    assert about["project"]["version"] == toolkit.__version__
    assert "web" not in about["tool"]["comfy"]  # beside WEB_DIRECTORY it would serve every script twice
    assert [path for folder in (ROOT, PACK) for path in folder.glob("requirements*.txt")] == []
    assert [path for folder in (ROOT, PACK) for path in folder.glob("install.py")] == []
