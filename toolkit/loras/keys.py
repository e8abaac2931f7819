"""The stored key tables: every layer of the published models, with its size, and every layer name that ComfyUI knows.

One text file per family in `keys/`. A line is a pattern such as `blocks.{0-29}.attn1.to_q 1536x1536`; `[…]` begins the
layers of another published model. The tables were generated (`tests/golden/test_lora_keys.py` says how) and are facts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import product

Shape = tuple[int, ...]
NUMBER = re.compile(r"(?<=[._])\d+(?=[._]|$)")  # a layer number; the 1 of `attn1` is part of a word


@cache
def layers(family: str) -> Mapping[str, Mapping[str, Shape]]:
    """Published model → diffusers' layer name → weight shape (out, in, …)."""
    return parse(_text(f"{family}.txt"))


@cache
def comfyui(family: str) -> frozenset[str]:
    """Every stem that ComfyUI maps to a layer of this family, in all its spellings; empty when it has no such model."""
    path = files("toolkit.loras") / "keys" / f"{family}.comfyui.txt"
    if not path.is_file():
        return frozenset()
    return frozenset(name for section in parse(path.read_text(encoding="utf-8")).values() for name in section)


def parse(text: str) -> dict[str, dict[str, Shape]]:
    """The sections of a table, patterns expanded."""
    sections: dict[str, dict[str, Shape]] = {}
    current: dict[str, Shape] = {}
    for line in text.splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            pattern, _, size = line.partition(" ")
            shape = tuple(int(part) for part in size.split("x")) if size else ()
            current.update(dict.fromkeys(expand(pattern), shape))
    return sections


def expand(pattern: str) -> Iterator[str]:
    """All names of a pattern: `a.{0-2,5}.b` stands for four."""
    pieces = re.split(r"\{([\d,-]+)\}", pattern)
    choices = [_numbers(piece) if index % 2 else [piece] for index, piece in enumerate(pieces)]
    return ("".join(parts) for parts in product(*choices))


def compress(names: Mapping[str, Shape]) -> list[str]:
    """Names as few sorted lines of a table; `parse` is the inverse."""
    groups: dict[tuple[str, Shape], list[tuple[int, ...]]] = {}
    for name, shape in names.items():
        numbers = tuple(int(number) for number in NUMBER.findall(name))
        groups.setdefault((NUMBER.sub("*", name), shape), []).append(numbers)
    lines = []
    for (pattern, shape), found in groups.items():
        size = " " + "x".join(map(str, shape)) if shape else ""
        for ranges in _boxes(set(found)):
            remaining = iter(ranges)
            lines.append(re.sub(r"\*", lambda _, r=remaining: next(r), pattern) + size)
    return sorted(lines)


def _boxes(tuples: set[tuple[int, ...]]) -> list[tuple[str, ...]]:
    """Number tuples as products of ranges."""
    if not next(iter(tuples)):
        return [()]
    tails: dict[int, set[tuple[int, ...]]] = {}
    for first, *rest in tuples:
        tails.setdefault(first, set()).add(tuple(rest))
    alike: dict[frozenset[tuple[int, ...]], list[int]] = {}
    for first, rest in tails.items():
        alike.setdefault(frozenset(rest), []).append(first)
    return [(_written(firsts), *box) for rest, firsts in alike.items() for box in _boxes(set(rest))]


def _written(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    if len(ordered) == 1:
        return str(ordered[0])
    runs: list[list[int]] = []
    for number in ordered:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return "{" + ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) + "}"


def _numbers(text: str) -> list[str]:
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += [str(number) for number in range(int(first), int(last or first) + 1)]
    return found


def _text(name: str) -> str:
    return (files("toolkit.loras") / "keys" / name).read_text(encoding="utf-8")
