"""The inputs and outputs of the nodes that Palate's graphs use, in ComfyUI's order: facts, kept in `sockets.json`.

A server's own list is written into that file by `python tests/e2e/test_comfyui_workflows.py --write`.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict

OURS = "Palate"  # every node of Palate's own begins with it


class Input(BaseModel):
    """One input. A widget has a value on the node, a socket only what is linked to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str
    widget: bool = False
    default: Any = None  # of a widget; None where only the user's own folders say what there is
    optional: bool = False
    lines: bool = False  # a text of several lines
    control: bool = False  # followed by a widget that says how a seed changes from run to run


class Output(BaseModel):
    """One output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str


class Kind(BaseModel):
    """One class of nodes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]

    def output(self, name: str | int) -> int:
        """The place of an output. Raises KeyError for a name that is none."""
        names = [output.name for output in self.outputs]
        if name in range(len(names)):
            return int(name)
        if name not in names:
            raise KeyError(f"no output `{name}`, only {', '.join(names)}")
        return names.index(str(name))


@cache
def kinds() -> dict[str, Kind]:
    """Class name → its sockets."""
    content = json.loads((files("toolkit.comfyui") / "sockets.json").read_text(encoding="utf-8"))
    return {name: Kind.model_validate(kind) for name, kind in content.items()}
