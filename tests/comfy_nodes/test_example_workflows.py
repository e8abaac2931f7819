"""The example workflows beside the nodes are what `toolkit.comfyui.examples` makes, and hold together as graphs.

python tests/comfy_nodes/test_example_workflows.py --write   renews comfy_nodes/example_workflows/*.json
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from toolkit.comfyui.examples import EXAMPLES
from toolkit.comfyui.graph import NOTE
from toolkit.comfyui.sockets import OURS, kinds

PACK = Path(__file__).resolve().parents[2] / "comfy_nodes"
FOLDER = PACK / "example_workflows"


def text(name: str) -> str:
    return json.dumps(EXAMPLES[name]().workflow(), indent=1, ensure_ascii=False) + "\n"


def stored(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def node_ids() -> set[str]:
    """The keys of `extension.NODES`, read and not imported: it needs ComfyUI."""
    for statement in ast.parse((PACK / "extension.py").read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            return set(ast.literal_eval(statement.value))
    raise AssertionError("no table of nodes")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_file_is_what_the_code_makes(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == text(name), "run this file with --write"


def test_there_are_no_others_and_each_has_a_small_picture() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {
        f"{name}{end}" for name in EXAMPLES for end in (".json", ".jpg")
    }
    for name in EXAMPLES:
        path = FOLDER / f"{name}.jpg"
        assert path.stat().st_size < 60_000
        with Image.open(path) as picture:
            assert max(picture.size) <= 640


def test_every_node_is_shown_somewhere() -> None:
    shown = {node["type"] for name in EXAMPLES for node in stored(name)["nodes"]}
    assert {kind for kind in shown if kind.startswith(OURS)} == node_ids()


@pytest.mark.parametrize("name", EXAMPLES)
def test_links_lead_from_an_output_to_an_input_of_the_same_type(name: str) -> None:
    graph = stored(name)
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert len(nodes) == len(graph["nodes"]) == graph["last_node_id"]
    assert [link[0] for link in graph["links"]] == [*range(1, graph["last_link_id"] + 1)]
    for number, source, slot, target, place, kind in graph["links"]:
        output, taken = nodes[source]["outputs"][slot], nodes[target]["inputs"][place]
        assert number in output["links"]
        assert taken["link"] == number
        assert output["type"] == kind
        assert taken["type"] in (kind, "*")
    ends = [(node["id"], each["link"]) for node in nodes.values() for each in node["inputs"] if each["link"]]
    assert sorted(link for _, link in ends) == [link[0] for link in graph["links"]]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_widget_has_its_value_and_every_needed_input_its_link(name: str) -> None:
    for node in stored(name)["nodes"]:
        if node["type"] == NOTE:
            continue
        kind = kinds()[node["type"]]
        assert [(each["name"], each["type"], "widget" in each) for each in node["inputs"]] == [
            (each.name, each.type, each.widget) for each in kind.inputs
        ]
        assert len(node["widgets_values"]) == sum(each.widget + each.control for each in kind.inputs)
        assert None not in node["widgets_values"]
        for entry, socket in zip(node["inputs"], kind.inputs, strict=True):
            assert entry["link"] or socket.widget or socket.optional, (node["type"], socket.name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_node_covers_another(name: str) -> None:
    boxes = [(*node["pos"], *node["size"]) for node in stored(name)["nodes"]]
    title = 30
    for place, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[:place]:
            apart = x >= other_x + other_width or other_x >= x + width
            assert apart or y - title >= other_y + other_height or other_y - title >= y + height


@pytest.mark.parametrize("name", EXAMPLES)
def test_both_forms_say_the_same(name: str) -> None:
    graph = EXAMPLES[name]()
    api, shown = graph.api(), {str(node["id"]): node for node in graph.workflow()["nodes"] if node["type"] != NOTE}
    assert {number: node["class_type"] for number, node in api.items()} == {
        n: node["type"] for n, node in shown.items()
    }
    links = {link[0]: [str(link[1]), link[2]] for link in graph.workflow()["links"]}
    for number, node in api.items():
        linked = {each["name"]: links[each["link"]] for each in shown[number]["inputs"] if each["link"]}
        assert {key: value for key, value in node["inputs"].items() if isinstance(value, list)} == linked


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    FOLDER.mkdir(exist_ok=True)
    for each in EXAMPLES:
        (FOLDER / f"{each}.json").write_text(text(each), encoding="utf-8")
