"""Where nodes stand: in columns along their links, each beside the first node that needs it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.comfyui.graph import Node

WIDTH, ROW, TEXT, PICTURE, FRAME = 320, 24, 110, 300, 20  # pixels: a node, a line, a text field, a preview, the border
PANEL = 150  # what the page shows of a LoRA and its words
GAP_ACROSS, GAP_DOWN = 60, 60
TEXTS_SHOWN = (
    "PreviewAny", "PalateAlignedPrompt", "PalateLoadAlignedLora", "PalatePickBest", "PalatePreferenceScore",
    "PalateStyleWords",
)  # fmt: skip
PANELS_SHOWN = ("PalateAlignedPrompt", "PalateChainLora", "PalateLoadAlignedLora", "PalateStyleWords")
PICTURES_SHOWN = (
    "SaveImage", "PreviewImage", "SaveVideo", "PalateCompareGrid", "PalateSaveForArena", "PalateStrengthSweep",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """The upper left corner below the title, and the size."""

    x: int
    y: int
    width: int
    height: int


def places(nodes: Sequence[Node]) -> dict[int, Place]:
    """Node number → its place. The nodes stand in an order in which every link comes from an earlier one."""
    columns = _columns(nodes)
    below: dict[int, int] = defaultdict(int)
    found = {}
    for node in nodes:
        column, height = columns[node.number], _height(node)
        found[node.number] = Place(column * (WIDTH + GAP_ACROSS), below[column], WIDTH, height)
        below[column] += height + GAP_DOWN
    return found


def _columns(nodes: Sequence[Node]) -> dict[int, int]:
    columns: dict[int, int] = {}
    users: dict[int, list[int]] = defaultdict(list)
    for node in nodes:
        sources = [socket.node.number for _, _, socket in node.links()]
        columns[node.number] = max((columns[source] + 1 for source in sources), default=0)
        for source in sources:
            users[source].append(node.number)
    for node in reversed(nodes):
        if users[node.number]:
            columns[node.number] = min(columns[user] for user in users[node.number]) - 1
    return columns


def _height(node: Node) -> int:
    inputs = node.kind.inputs
    sockets = max(sum(not socket.widget for socket in inputs), len(node.kind.outputs))
    widgets = sum(socket.widget and not socket.lines for socket in inputs) + sum(socket.control for socket in inputs)
    texts = sum(socket.lines for socket in inputs) + (node.name in TEXTS_SHOWN)
    extra = PANEL * (node.name in PANELS_SHOWN) + PICTURE * (node.name in PICTURES_SHOWN)
    return FRAME + ROW * (sockets + widgets) + TEXT * texts + extra
