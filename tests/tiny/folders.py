"""A tiny pipeline of each family written to disk once per test session, as its publisher would have written it."""

from __future__ import annotations

import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from tiny import parts

from toolkit.recipe import Section

ROOT = tempfile.TemporaryDirectory(prefix="palate-tiny-")


def family(name: str) -> Any:
    """The module that describes a family in small."""
    return import_module(f"tiny.{name}")


@cache
def folder(name: str) -> Path:
    """The family's pipeline with random weights, in diffusers layout."""
    path = Path(ROOT.name) / name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe = family(name).build()
        parts.lively(*(part for part in pipe.components.values() if isinstance(part, torch.nn.Module)))
    pipe.save_pretrained(path)
    return path


def section(name: str, **changes: object) -> Section:
    """What a recipe would say to use it, and what else it may say."""
    width, height = family(name).SIZE
    options = {"weights": str(folder(name)), "dtype": "float32", "width": width, "height": height}
    options |= getattr(family(name), "SETTINGS", {}) | changes
    return Section(name=getattr(family(name), "BASE", name), settings=options)
