"""Every node in two languages: nodeDefs.json and help pages agree with the schemas.

English has one source, the schemas. WRITE_LOCALES=1 pytest tests/comfy_nodes/test_locales.py writes nodeDefs.json and
the tables in the help pages anew; zh/nodeDefs.json is written by hand.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

PACK = Path(__file__).resolve().parents[2] / "comfy_nodes"
LOCALES, DOCS = PACK / "locales", PACK / "web" / "docs"
HEADINGS = {"en": ("input", "output", "what it is", "Example", "Pitfalls"),
            "zh": ("输入", "输出", "说明", "示例", "注意")}  # fmt: skip
BEGIN, END = "<!-- sockets -->\n", "<!-- /sockets -->"
WRITE = bool(os.environ.get("WRITE_LOCALES"))


@pytest.fixture
def release() -> str:
    return "new"


@pytest.fixture
def schemas(comfyui) -> dict[str, Any]:
    pack = comfyui.load()
    nodes = importlib.import_module(f"{pack.__name__}.extension").available
    table = importlib.import_module(f"{pack.__name__}.extension").NODES
    assert asyncio.run(pack.comfy_entrypoint())
    return {schema.node_id: schema for schema in (node.define_schema() for node in nodes(table))}


@pytest.fixture
def english(schemas) -> dict[str, Any]:
    """What nodeDefs.json holds of the schemas."""
    return {
        node_id: {
            "display_name": schema.display_name,
            "description": schema.description,
            "inputs": {each.id: {"name": each.id, "tooltip": each.tooltip} for each in schema.inputs},
            "outputs": {
                str(place): {"name": each.display_name or each.id, "tooltip": each.tooltip}
                for place, each in enumerate(schema.outputs)
            },
        }
        for node_id, schema in schemas.items()
    }


def read(language: str, file: str = "nodeDefs") -> dict[str, Any]:
    return json.loads((LOCALES / language / f"{file}.json").read_text(encoding="utf-8"))


def keys(content: Any) -> Any:
    return {name: keys(value) for name, value in content.items()} if isinstance(content, dict) else None


def page(node_id: str, language: str) -> Path:
    return DOCS / f"{node_id}.md" if language == "en" else DOCS / node_id / f"{language}.md"


def test_english_is_what_the_schemas_say(english) -> None:
    path = LOCALES / "en" / "nodeDefs.json"
    text = json.dumps(english, ensure_ascii=False, indent=2) + "\n"
    if WRITE:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_chinese_has_the_same_keys_and_is_chinese(english) -> None:
    chinese = read("zh")
    assert {node_id: keys(chinese[node_id]) for node_id in english} == keys(english)
    for node_id, about in chinese.items():
        sockets = [*about["inputs"].values(), *about["outputs"].values()]
        texts = [about["display_name"], about["description"], *(each["tooltip"] for each in sockets)]
        assert [text for text in texts if not re.search(r"[\u4e00-\u9fff]", text)] == [], node_id
        assert all(each["name"] for each in sockets)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_node_has_a_help_page_whose_tables_are_those_of_the_schema(english, language: str) -> None:
    source = english if language == "en" else read("zh")
    for node_id in english:
        path = page(node_id, language)
        text = path.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        wanted = before + BEGIN + tables(source[node_id], language) + END + rest.partition(END)[2]
        if WRITE:
            path.write_text(wanted, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == wanted
        assert text.startswith(f"# {source[node_id]['display_name']}\n"), path
        assert [line for line in text.splitlines() if line.startswith("## ")] == [
            f"## {name}" for name in HEADINGS[language][-2:]
        ]
        assert not re.search(r"https?:|<script|<img", text)


def tables(about: dict[str, Any], language: str) -> str:
    """Inputs and outputs with their explanations; the first column is what stands on the node."""
    kinds = dict(zip(("inputs", "outputs"), HEADINGS[language], strict=False))
    made = []
    for kind, title in kinds.items():
        rows = [f"| {each['name']} | {each['tooltip'].replace('|', chr(92) + '|')} |" for each in about[kind].values()]
        if rows:
            made.append("\n".join([f"| {title} | {HEADINGS[language][2]} |", "|---|---|", *rows]))
    return "\n" + "\n\n".join(made) + "\n\n"


def test_both_languages_say_the_same_things_on_the_page() -> None:
    english, chinese = read("en", "main")["palate"], read("zh", "main")["palate"]
    assert list(english) == sorted(english)
    assert list(chinese) == list(english)
    for name, text in english.items():
        assert set(re.findall(r"\{\w+\}", chinese[name])) == set(re.findall(r"\{\w+\}", text)), name
