"""Is every sign, factor and side of the mathematics held by a test? One small wrong change at a time must fail one.

    make mutate                                   all of training/methods and training/interpolants.py
    python tests/mutate.py training/methods/refl.py ...

Three kinds of change, each at every place in turn: a sign flipped (a + b, a - b, -a), a factor dropped (a * b, a / b),
the two sides of a preference swapped (chosen, rejected; positive, negative; winner, loser). The tests that mirror the
file run on each, in a fork of a process that has loaded the libraries. Settings' limits and defaults are left alone. A
mutant that no test could tell from the file stands by its name in mutate_survivors.yaml (made when the first appears)
with the reason; at least 95 % must die.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
SURVIVORS = Path(__file__).with_name("mutate_survivors.yaml")
ALLOWED = 0.05
SECONDS = 240  # of computing, however busy the machine: a mutant that takes longer has been noticed
SIDES = {"chosen": "rejected", "positive": "negative", "winner": "loser", "won": "lost"}
SIDES |= {other: one for one, other in SIDES.items()}
SIGNS: dict[type[ast.operator], ast.operator] = {ast.Add: ast.Sub(), ast.Sub: ast.Add()}
PRODUCTS = (ast.Mult, ast.Div, ast.MatMult)


@dataclass(frozen=True)
class Mutant:
    """One wrong version of a file."""

    path: Path
    line: int
    before: str
    after: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.path.relative_to(ROOT)}: {self.before} → {self.after}"


def unchanged(path: Path) -> Mutant:
    """The file as it is, on the way that mutants go."""
    return Mutant(path, 0, "", "", ast.unparse(ast.parse(path.read_text(encoding="utf-8"))))


def mutants(path: Path) -> Iterator[Mutant]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    declared, names = declarations(tree), {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for number, node in enumerate(ast.walk(tree)):
        for change in changes(node) if number not in declared else ():
            if isinstance(change, ast.Name) and change.id not in names:
                continue  # a name from nowhere fails any test
            copied = copy.deepcopy(tree)
            place = next(candidate for index, candidate in enumerate(ast.walk(copied)) if index == number)
            replaced = Replace(place, change).visit(copied)
            source = ast.unparse(ast.fix_missing_locations(replaced))
            yield Mutant(path, getattr(node, "lineno", 0), ast.unparse(node), ast.unparse(change), source)


def changes(node: ast.AST) -> Iterator[ast.expr | ast.stmt | ast.keyword]:
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in SIGNS:
        yield _with(node, op=SIGNS[type(node.op)])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    if isinstance(node, ast.BinOp) and isinstance(node.op, PRODUCTS):
        yield node.left
        if not isinstance(node.op, ast.Div):
            yield node.right
    if isinstance(node, ast.Name | ast.Attribute | ast.keyword):
        name = {ast.Name: "id", ast.Attribute: "attr", ast.keyword: "arg"}[type(node)]
        if (swapped := swap(getattr(node, name))) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            yield _with(node, **{name: swapped})


def swap(name: str | None) -> str | None:
    """The other side of `chosen_error`, or None where a name takes no side."""
    parts = (name or "").split("_")
    swapped = [SIDES.get(part, part) for part in parts]
    return "_".join(swapped) if swapped != parts else None


def _with(node, **fields):
    changed = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


class Replace(ast.NodeTransformer):
    """One node for another."""

    def __init__(self, place: ast.AST, change: ast.AST) -> None:
        self.place, self.change = place, change

    def visit(self, node: ast.AST) -> ast.AST:
        return self.change if node is self.place else super().visit(node)


def declarations(tree: ast.Module) -> set[int]:
    """Numbers of the nodes within settings' declarations, whose limits and defaults are left alone."""
    inside = {
        id(node)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "Field"
        for node in ast.walk(call)
    }
    return {number for number, node in enumerate(ast.walk(tree)) if id(node) in inside}


def tests_of(path: Path) -> list[Path]:
    """The tests that mirror a file, or import it where none does; of a private core, also those of all its users."""
    users = [path]
    for user in users:  # grows: a core may be used by another
        if user.stem.startswith("_"):
            others = sorted(path.parent.glob("*.py"))
            users += [other for other in others if other not in users and f".{user.stem} " in other.read_text()]
    folder, found = ROOT / "tests" / path.parent.relative_to(ROOT), []
    for stem in [user.stem.lstrip("_") for user in users]:
        found += [*folder.glob(f"test_{stem}.py"), *sorted(folder.glob(f"test_{stem}_*.py"))]
    if not found:
        found = [test for test in sorted(folder.glob("test_*.py")) if f"{path.stem} import" in test.read_text()]
    return list(dict.fromkeys(found))


class Wrong(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the mutant in place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.module = ".".join(mutant.path.relative_to(ROOT).with_suffix("").parts)

    def find_spec(self, name, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self.module else None

    def get_source(self, fullname: str) -> str:
        return self.mutant.source


def dies(mutant: Mutant, tests: list[Path]) -> bool:
    """Whether the tests fail, in a fork."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        sys.meta_path.insert(0, Wrong(mutant))
        os._exit(run(tests))
    _, status = os.waitpid(child, 0)
    return status != 0


def run(tests: list[Path], *options: str) -> int:
    """pytest's exit code, in silence."""
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        quiet = ["-x", "-q", "-p", "no:cacheprovider", "--capture=no", "-m", "not slow and not browser and not long"]
        return int(pytest.main([*quiet, *options, *map(str, tests)]))


def preload(tests: list[Path]) -> None:
    """Whatever the tests import, but none of our own modules: those are what a fork reads anew."""
    run(tests, "--collect-only")
    ours = re.compile(r"(training|toolkit|comfy_nodes|tests|tiny)(\.|$)")
    for name in [name for name in sys.modules if ours.match(name)]:
        del sys.modules[name]


def known_survivors() -> dict[str, str]:
    return yaml.safe_load(SURVIVORS.read_text(encoding="utf-8")) or {} if SURVIVORS.exists() else {}


def examine(path: Path, known: dict[str, str]) -> tuple[int, int]:
    """How many mutants a file has, and how many live without a reason."""
    tests, counted, alive, excused = tests_of(path), 0, 0, 0
    if dies(unchanged(path), tests):
        sys.exit(f"{', '.join(test.name for test in tests)}: red before any change")
    for mutant in mutants(path):
        counted += 1
        if dies(mutant, tests):
            continue
        if mutant.name in known:
            excused += 1
        else:
            alive += 1
            print(f"  lives: {path.relative_to(ROOT)}:{mutant.line}: {mutant.before} → {mutant.after}", flush=True)
    print(f"{path.relative_to(ROOT)}: {counted - alive - excused} of {counted} die, {excused} excused", flush=True)
    return counted, alive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="default: all that there is mathematics in")
    parser.add_argument("--count", action="store_true", help="only say how many mutants there are")
    default = [ROOT / "training/interpolants.py", *sorted((ROOT / "training/methods").glob("[!_]*.py"))]
    default += sorted((ROOT / "training/methods").glob("_[!_]*.py"))
    asked = parser.parse_args()
    files = [file.resolve() for file in asked.files] or default
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    preload([test for path in files for test in tests_of(path)])
    if asked.count:
        print(*(f"{path.relative_to(ROOT)}: {sum(1 for _ in mutants(path))}" for path in files), sep="\n")
        return
    total, living, known = 0, 0, known_survivors()
    for path in files:
        counted, alive = examine(path, known)
        total, living = total + counted, living + alive
    print(f"{total - living} of {total} mutants die or are excused")
    sys.exit(living > ALLOWED * total)


if __name__ == "__main__":
    main()
