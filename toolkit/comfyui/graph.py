"""A graph of nodes, described once: ComfyUI's API form to run it, its workflow form to open and change it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from toolkit.comfyui.layout import Place, places
from toolkit.comfyui.sockets import OURS, Kind, kinds

WORKFLOW_VERSION = 0.4  # of litegraph's file format
NOTE = "MarkdownNote"  # the browser's own; no server knows it


@dataclass(frozen=True)
class Socket:
    """An output of a node, ready to be linked."""

    node: Node
    index: int


@dataclass(eq=False)
class Node:
    """One node; `values` holds every input: a `Socket`, a widget's value, or None for what stays unlinked."""

    number: int
    name: str
    kind: Kind
    title: str
    values: dict[str, Any]

    def __getitem__(self, output: str | int) -> Socket:
        return Socket(self, self.kind.output(output))

    def links(self) -> Iterator[tuple[int, str, Socket]]:
        """(place among the inputs, name, what is linked to it)."""
        for place, socket in enumerate(self.kind.inputs):
            if isinstance(value := self.values[socket.name], Socket):
                yield place, socket.name, value


@dataclass
class Graph:
    """Nodes in the order in which they were added; `notes` are texts beside them."""

    name: str
    nodes: list[Node] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, /, *, title: str = "", **inputs: Any) -> Node:
        """One more node. What is not given has ComfyUI's default.

        Raises ValueError for an input that is unknown, missing, or linked to an output of another type.
        """
        about = kinds()[kind]
        unknown = inputs.keys() - {socket.name for socket in about.inputs}
        if unknown:
            raise ValueError(f"{kind} has no input {', '.join(sorted(unknown))}")
        values = {socket.name: inputs.get(socket.name, socket.default) for socket in about.inputs}
        for socket in about.inputs:
            value = values[socket.name]
            if value is None and not socket.optional:
                raise ValueError(f"{kind} needs `{socket.name}`")
            if isinstance(value, Socket):
                given = value.node.kind.outputs[value.index].type
                if "*" not in (given, socket.type) and given not in socket.type.split(","):
                    raise ValueError(f"{kind}.{socket.name} takes {socket.type}, not {given}")
        node = Node(len(self.nodes) + 1, kind, about, title, values)
        self.nodes.append(node)
        return node

    def note(self, text: str) -> None:
        """Markdown for whoever opens the graph."""
        self.notes.append(text)

    def find(self, kind: str) -> Node:
        """The only node of a class. Raises ValueError when there is none, or more than one."""
        (found,) = (node for node in self.nodes if node.name == kind)
        return found

    def api(self) -> dict[str, Any]:
        """What is sent to `/prompt`."""
        return {
            str(node.number): {
                "class_type": node.name,
                "inputs": {name: _linked(value) for name, value in node.values.items() if value is not None},
                "_meta": {"title": node.title or node.name},
            }
            for node in self.nodes
        }

    def workflow(self) -> dict[str, Any]:
        """What ComfyUI's page opens: places, sizes, links with numbers, widgets in their order."""
        links = [
            [number, socket.node.number, socket.index, node.number, place,
             socket.node.kind.outputs[socket.index].type]
            for number, (node, place, socket) in enumerate(
                ((node, place, socket) for node in self.nodes for place, _, socket in node.links()), 1
            )
        ]  # fmt: skip
        arranged = places(self.nodes)
        order = {node.number: rank for rank, node in enumerate(sorted(self.nodes, key=lambda n: arranged[n.number].x))}
        shown = [_shown(node, arranged[node.number], order[node.number], links) for node in self.nodes]
        shown += [_note(text, len(shown) + 1 + place, place) for place, text in enumerate(self.notes)]
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"palate/{self.name}")),
            "revision": 0,
            "last_node_id": len(shown),
            "last_link_id": len(links),
            "nodes": shown,
            "links": links,
            "groups": [],
            "config": {},
            "extra": {"ds": {"scale": 0.8, "offset": [40, 300 if self.notes else 60]}},
            "version": WORKFLOW_VERSION,
        }


def _linked(value: Any) -> Any:
    return [str(value.node.number), value.index] if isinstance(value, Socket) else value


def _shown(node: Node, place: Place, order: int, links: list[list[Any]]) -> dict[str, Any]:
    coming = {link[4]: link[0] for link in links if link[3] == node.number}
    inputs = []
    for index, socket in enumerate(node.kind.inputs):
        entry: dict[str, Any] = {"name": socket.name, "type": socket.type, "link": coming.get(index)}
        inputs.append({**entry, "widget": {"name": socket.name}} if socket.widget else entry)
    outputs = [
        {"name": output.name, "type": output.type, "slot_index": index,
         "links": [link[0] for link in links if (link[1], link[2]) == (node.number, index)]}
        for index, output in enumerate(node.kind.outputs)
    ]  # fmt: skip
    ours = node.name.startswith(OURS)
    about = {
        "id": node.number, "type": node.name, "pos": [place.x, place.y], "size": [place.width, place.height],
        "flags": {}, "order": order, "mode": 0, "inputs": inputs, "outputs": outputs,
        "properties": {"cnr_id": "palate-nodes" if ours else "comfy-core", "Node name for S&R": node.name},
        "widgets_values": list(_widgets(node)),
    }  # fmt: skip
    return {**about, "title": node.title} if node.title else about


def _widgets(node: Node) -> Iterator[Any]:
    """Widgets' values in their order; one that is linked keeps its default."""
    for socket in node.kind.inputs:
        if socket.widget:
            value = node.values[socket.name]
            yield socket.default if isinstance(value, Socket) else value
            if socket.control:
                yield "fixed"


def _note(text: str, number: int, place: int) -> dict[str, Any]:
    height = 60 + 24 * sum(1 + len(line) // 62 for line in text.splitlines())
    return {
        "id": number, "type": NOTE, "pos": [480 * place, -height - 60], "size": [460, height], "flags": {},
        "order": number - 1, "mode": 0, "inputs": [], "outputs": [], "title": "Note", "properties": {},
        "widgets_values": [text], "color": "#432", "bgcolor": "#653",
    }  # fmt: skip
